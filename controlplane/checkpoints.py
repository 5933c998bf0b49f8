"""Where the checkpoints of trainings lie in the artifact store, and when they go: a folder for each job.

The folder's name is the job's fingerprint, so the same command finds what an earlier one left, on whichever machine.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import fsspec
from zenml import log_metadata
from zenml.models import PipelineRunResponse

from controlplane.storage import Storage, active_storage
from tuneline import paths
from tuneline.training.durable.fingerprint import job_fingerprint
from tuneline.training.job import TrainingJob

# A run that nobody took up again for two weeks is given up.
_GIVEN_UP_DAYS = 14
_METADATA = "checkpoints"


def with_checkpoints(job: TrainingJob) -> TrainingJob:
    """The job with a place in the active stack's artifact store. What was given up there is removed.

    Called within a step: the step's metadata name the place.
    """
    storage = active_storage()
    folder = paths.checkpoints_folder(storage.uri, job_fingerprint(job))
    remove_given_up(storage)
    log_metadata({_METADATA: folder})
    return replace(job, checkpoints=folder, storage_options=storage.options)


def remove_checkpoints(run: PipelineRunResponse) -> None:
    """Remove what the run's training kept: its artifacts are there now."""
    storage = active_storage()
    for step in run.steps.values():
        if (folder := step.run_metadata.get(_METADATA)) is not None:
            fs, path = fsspec.url_to_fs(str(folder), use_listings_cache=False, **storage.options)
            if fs.exists(path):
                fs.rm(path, recursive=True)


def remove_given_up(storage: Storage, days: float = _GIVEN_UP_DAYS) -> None:
    """Remove the folders in which nothing was written for so long."""
    fs, root = fsspec.url_to_fs(paths.checkpoints_root(storage.uri), use_listings_cache=False, **storage.options)
    if not fs.exists(root):
        return
    oldest = time.time() - days * 86400
    for folder in fs.ls(root, detail=False):
        files = fs.find(folder, detail=True).values()
        # An empty folder belongs to a training that is about to write its first state.
        if files and all(_written(file) < oldest for file in files):
            fs.rm(folder, recursive=True)


def _written(file: dict[str, Any]) -> float:
    """When a file was written, seconds; now if the file system does not tell, so that nothing is removed."""
    when = file.get("mtime", file.get("LastModified", file.get("last_modified", file.get("updated"))))
    if isinstance(when, int | float):
        return float(when)
    return float(when.timestamp()) if hasattr(when, "timestamp") else time.time()
