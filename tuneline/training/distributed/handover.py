"""A job on its way to the processes that do it: files for what it is, the environment for what opens the store.

The environment of a process is readable to its user alone, a file stays behind when the machine is switched off.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneline.config import ModelConfig, TrainingConfig
from tuneline.data.records import ChatRecord
from tuneline.prompts.template import PromptTemplate
from tuneline.training.durable.start import Start
from tuneline.training.durable.store import CheckpointStore
from tuneline.training.job import TrainingJob
from tuneline.training.progress import Progress

_OPTIONS = "TUNELINE_TRAINING_STORAGE_OPTIONS"
_JOB, _RECORDS = "job.json", "records.jsonl"


@dataclass(frozen=True)
class Handover:
    """A job as files.

    Attributes:
        file: names all else; the argument of a worker.
        environment: what the worker's process needs beside its own.
    """

    file: Path
    environment: dict[str, str]


def hand_over(job: TrainingJob, start: Start) -> Handover:
    """Write a job into the scratch folder that all of its processes share."""
    with (start.scratch / _RECORDS).open("w") as file:
        file.writelines(record.model_dump_json() + "\n" for record in job.records)
    document = {
        "model": job.model.model_dump(mode="json"),
        "training": job.training.model_dump(mode="json"),
        "prompt": job.prompt.model_dump(mode="json"),
        "output": str(job.output.absolute()),
        "checkpoints": job.checkpoints,
        "fingerprint": None if start.store is None else start.store.job,
        "step": start.step,
        "cut": start.cut,
    }
    path = start.scratch / _JOB
    path.write_text(json.dumps(document))
    return Handover(path, {_OPTIONS: json.dumps(dict(job.storage_options))})


def take_over(
    file: Path, on_progress: Callable[[Progress], None], say: Callable[[str], None]
) -> tuple[TrainingJob, Start]:
    """Read a job in the process that does it; the storage options are gone from the environment afterwards."""
    document: dict[str, Any] = json.loads(file.read_text())
    options: dict[str, Any] = json.loads(os.environ.pop(_OPTIONS, "{}"))
    with (file.parent / _RECORDS).open() as lines:
        records = [ChatRecord.model_validate_json(line) for line in lines]
    job = TrainingJob(
        records=records,
        model=ModelConfig.model_validate(document["model"]),
        training=TrainingConfig.model_validate(document["training"]),
        prompt=PromptTemplate.model_validate(document["prompt"]),
        output=Path(document["output"]),
        checkpoints=document["checkpoints"],
        storage_options=options,
        on_progress=on_progress,
        say=say,
    )
    store = None
    if job.checkpoints is not None:
        store = CheckpointStore(job.checkpoints, options, document["fingerprint"])
    return job, Start(file.parent, store, document["step"], document["cut"])
