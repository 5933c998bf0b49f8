"""What MLflow is told of a training: settings, data and environment before it, numbers, pictures and adapter after it.

No path, user or machine is named; the connection's secrets are MLflow's own and never among what is sent.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import yaml
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.meta_dataset import MetaDataset

from steps.training.tracking import Tracking
from tuneline.data.dataset import ChatDataset
from tuneline.training.origin import flat
from tuneline.training.outcome import TrainingRun

_MOST_SOURCES = 50  # MLflow keeps 64 kB for a data set's origin
_DIGEST = 36  # characters that MLflow keeps of a fingerprint


def describe(tracking: Tracking, came_from: dict[str, Any], training_set: ChatDataset, zenml_run: str) -> None:
    """Say what is about to be trained: parameters, the settings as a file, the data as an input, tags."""
    settings = came_from["settings"]
    params = flat({"model": settings["model"], "training": settings["training"]}) | {
        "prompt": settings["prompt"]["name"],
        "prompt_sha256": came_from["prompt_sha256"],
        "data.fingerprint": came_from["data"]["fingerprint"],
        "data.records": came_from["data"]["records"],
        "base.sha256": came_from["base_sha256"],
    }
    tags = {f"environment.{name}": value for name, value in came_from["environment"].items()} | {
        "zenml.run": zenml_run,
        "mlflow.source.name": "run.py",  # MLflow's own word for it is this machine's path
        "mlflow.note.content": f"{settings['training']['method']} on {settings['model']['base']}",
    }
    fingerprint = came_from["data"]["fingerprint"]
    counted = list(training_set.summary().sources.items())[:_MOST_SOURCES]
    sources = {source: str(count) for source, count in counted}
    data = MetaDataset(CodeDatasetSource({"sources": sources}), name="training_set", digest=fingerprint[:_DIGEST])
    written = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    tracking.send(lambda: mlflow.log_params(params))
    tracking.send(lambda: mlflow.set_tags(tags))
    tracking.send(lambda: mlflow.log_input(data, context="training"))
    tracking.send(lambda: mlflow.log_text(written, "config.yaml"))
    tracking.send(lambda: mlflow.log_dict(came_from["environment"], "environment.json"))


def conclude(tracking: Tracking, run: TrainingRun, folder: Path) -> None:
    """Say how it ended: numbers, curve and picture."""
    numbers = {
        "peak_memory_gib": run.peak_memory_gib,
        "training_seconds": run.seconds,
        "tokens_per_second": run.tokens_per_second,
        "final_loss": run.final_loss,
    }
    if run.best_validation_loss is not None and run.best_step is not None:
        numbers |= {"best_validation_loss": run.best_validation_loss, "best_step": float(run.best_step)}
    tracking.metrics(numbers, step=run.steps)
    for name in ("training.json", "curve.json", "curve.svg"):
        tracking.send(lambda name=name: mlflow.log_artifact(str(folder / name)))
