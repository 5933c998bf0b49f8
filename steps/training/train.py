"""Train the adapter."""

from typing import Annotated

import mlflow
from zenml import get_step_context, step
from zenml.config.cache_policy import CachePolicy

from controlplane.checkpoints import with_checkpoints
from controlplane.lineage import training_code
from materializers.adapter import AdapterMaterializer
from steps.scratch import scratch_folder
from tuneline.config import ModelConfig, TrainingConfig
from tuneline.data.dataset import ChatDataset
from tuneline.prompts import PromptTemplate
from tuneline.training.adapter import LoraAdapter
from tuneline.training.job import TrainingJob
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
    """Train LoRA on the training set; parameters, loss curve, memory and adapter go to MLflow.

    Args:
        base_sha256: fingerprint of the base model, so that a changed base is never a cache hit.
    """
    folder = scratch_folder("adapter")
    mlflow.log_params(
        {f"model.{key}": value for key, value in model.model_dump(mode="json").items()}
        | {f"training.{key}": value for key, value in training.model_dump(mode="json").items()}
        | {"data.fingerprint": training_set.fingerprint(), "prompt": prompt.name, "base.sha256": base_sha256}
    )
    job = TrainingJob(training_set.records, model, training, prompt, folder, on_progress=_report)
    outcome = run_training(with_checkpoints(job))
    mlflow.log_metrics(
        {
            "peak_memory_gib": outcome.run.peak_memory_gib,
            "training_seconds": outcome.run.seconds,
            "tokens_per_second": outcome.run.tokens_per_second,
            "final_loss": outcome.run.final_loss,
        }
    )
    mlflow.set_tag("zenml.run", get_step_context().pipeline_run.name)
    mlflow.log_artifacts(str(folder), "adapter")
    return outcome.adapter


def _report(moment: Progress) -> None:
    mlflow.log_metrics(
        {"loss": moment.loss, "learning_rate": moment.learning_rate, "grad_norm": moment.grad_norm}, step=moment.step
    )
    if moment.step == moment.steps or moment.step * 10 // moment.steps > (moment.step - 1) * 10 // moment.steps:
        print(
            f"training: step {moment.step}/{moment.steps}  loss {moment.loss:.3f}  "
            f"{moment.tokens_per_second:,.0f} tokens/s  {moment.remaining_seconds:.0f} s left",
            flush=True,
        )
