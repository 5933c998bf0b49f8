"""Train the adapter."""

import json
from typing import Annotated

from zenml import get_step_context, step
from zenml.config.cache_policy import CachePolicy

from controlplane.checkpoints import with_checkpoints
from controlplane.lineage import training_code
from materializers.adapter import AdapterMaterializer
from steps.scratch import scratch_folder
from steps.training.display import display
from steps.training.mlflow_model import log_adapter
from steps.training.report import conclude, describe
from steps.training.tracking import Tracking
from tuneline.config import ModelConfig, TrainingConfig
from tuneline.data.dataset import ChatDataset
from tuneline.prompts import PromptTemplate
from tuneline.training.adapter import LoraAdapter
from tuneline.training.curve import curve_svg
from tuneline.training.job import TrainingJob
from tuneline.training.origin import origin
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
    with display() as shown, Tracking(shown.say) as tracking:
        describe(tracking, came_from, training_set, get_step_context().pipeline_run.name)

        def see(moment: Progress) -> None:
            shown.show(moment)
            tracking.moment(moment)

        job = TrainingJob(training_set.records, model, training, prompt, folder, on_progress=see, say=shown.say)
        outcome = run_training(with_checkpoints(job))
        (folder / "origin.json").write_text(json.dumps(came_from, indent=2, ensure_ascii=False))
        (folder / "curve.svg").write_text(curve_svg(outcome.adapter.curve))
        conclude(tracking, outcome.run, folder)
        tracking.send(lambda: log_adapter(outcome.adapter, model, prompt))
    return outcome.adapter
