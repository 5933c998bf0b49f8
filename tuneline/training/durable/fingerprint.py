"""Which training a checkpoint belongs to: equal fingerprints mean equal weights at equal steps.

A checkpoint is taken up only by the job that made it. Another learning rate, one record more or another version of a
library would go on without any error and end in weights that no config describes.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneline import paths
from tuneline.release.files import fingerprint

if TYPE_CHECKING:
    from tuneline.config import ModelConfig
    from tuneline.training.job import TrainingJob

# What changes when something is saved or retried, never what is learnt.
_ASIDE = {"checkpoints", "on_oom"}
_SOFTWARE = ("torch", "transformers", "peft", "accelerate")
_ROOMS = ("data", "prompts", "training")
# A model of 140 GB is hashed in whole by the pipeline already; here it is told apart by samples of its files.
_SAMPLES, _SAMPLE_BYTES = 64, 65536


def job_fingerprint(job: TrainingJob) -> str:
    """SHA-256 over all that decides the weights: records, model, settings, prompt and software, hex."""
    parts: list[Any] = [
        job.model.model_dump(mode="json"),
        _base_model(job.model),
        job.training.model_dump(mode="json", exclude=_ASIDE),
        job.prompt.model_dump(mode="json"),
        {name: version(name) for name in _SOFTWARE},
        _code(),
    ]
    total = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    for record in job.records:
        total.update(record.model_dump_json().encode() + b"\n")
    return total.hexdigest()


@cache
def _code() -> str:
    """Fingerprint of the code that a record passes through on its way to a gradient."""
    root = paths.REPO / "tuneline"
    return fingerprint(root, [str(p.relative_to(root)) for room in _ROOMS for p in (root / room).rglob("*.py")])


def _base_model(model: ModelConfig) -> str:
    """A local base model by its files; one of a hub is told by its id and revision alone."""
    if not model.is_local:
        return ""
    total = hashlib.sha256()
    for path in sorted(Path(model.base).glob("*")):
        if path.is_file():
            size = path.stat().st_size
            total.update(f"{path.name}\0{size}\n".encode())
            with path.open("rb") as file:
                for number in range(_SAMPLES):
                    file.seek(number * max(size - _SAMPLE_BYTES, 0) // (_SAMPLES - 1))
                    total.update(file.read(_SAMPLE_BYTES))
    return total.hexdigest()
