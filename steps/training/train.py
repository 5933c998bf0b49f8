"""Train the adapter."""

import json
from pathlib import Path
from typing import Annotated, Any

import mlflow
import yaml
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from zenml import get_step_context, step
from zenml.config.cache_policy import CachePolicy

from controlplane.lineage import training_code
from materializers.adapter import AdapterMaterializer
from steps.scratch import scratch_folder
from steps.training.display import display
from steps.training.mlflow_model import log_adapter
from steps.training.tracking import Tracking
from tuneline.config import ModelConfig, TrainingConfig
from tuneline.data.dataset import ChatDataset
from tuneline.prompts import PromptTemplate
from tuneline.training.adapter import LoraAdapter
from tuneline.training.curve import curve_svg
from tuneline.training.job import TrainingJob
from tuneline.training.origin import flat, origin
from tuneline.training.outcome import TrainingRun
from tuneline.training.progress import Progress
from tuneline.training.train import train as run_training


@step(
    experiment_tracker=True,
    cache_policy=CachePolicy(include_artifact_ids=False, cache_func=training_code),
    output_materializers={"adapter": AdapterMaterializer},
)
def train(
    training_set: ChatDataset,
    model: ModelConfig,
    training: TrainingConfig,
    prompt: PromptTemplate,
    base_sha256: str,
) -> Annotated[LoraAdapter, "adapter"]:
    """Train on the training set; MLflow sees it live, and gets settings, data, environment and adapter.

    Args:
        base_sha256: fingerprint of the base model, so that a changed base is never a cache hit.
    """
    folder = scratch_folder("adapter")
    came_from = origin(training_set, model, training, prompt, base_sha256)
    with display() as shown:
        tracking = Tracking(shown.say)
        _describe(tracking, came_from, training_set)

        def see(moment: Progress) -> None:
            shown.show(moment)
            tracking.moment(moment)

        tracking.start()
        try:
            job = TrainingJob(training_set.records, model, training, prompt, folder, on_progress=see, say=shown.say)
            outcome = run_training(job)
            (folder / "origin.json").write_text(json.dumps(came_from, indent=2, ensure_ascii=False))
            (folder / "curve.svg").write_text(curve_svg(outcome.adapter.curve))
            _conclude(tracking, outcome.run, folder)
            tracking.send(lambda: log_adapter(outcome.adapter, model, prompt))
        finally:
            tracking.close()
    return outcome.adapter


def _describe(tracking: Tracking, came_from: dict[str, Any], training_set: ChatDataset) -> None:
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
        "zenml.run": get_step_context().pipeline_run.name,
        "mlflow.source.name": "run.py",  # MLflow's own word for it is this machine's path
        "mlflow.note.content": f"{settings['training']['method']} on {settings['model']['base']}",
    }
    fingerprint = came_from["data"]["fingerprint"]
    sources = {source: str(count) for source, count in training_set.summary().sources.items()}
    data = MetaDataset(CodeDatasetSource({"sources": sources}), name="training_set", digest=fingerprint[:36])
    written = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    tracking.send(lambda: mlflow.log_params(params))
    tracking.send(lambda: mlflow.set_tags(tags))
    tracking.send(lambda: mlflow.log_input(data, context="training"))
    tracking.send(lambda: mlflow.log_text(written, "config.yaml"))
    tracking.send(lambda: mlflow.log_dict(came_from["environment"], "environment.json"))


def _conclude(tracking: Tracking, run: TrainingRun, folder: Path) -> None:
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
