"""Train the tiny base model."""

from pathlib import Path
from typing import Annotated

import mlflow
from zenml import log_metadata, step

from steps.scratch import scratch_folder
from tuneline.config import PretrainingConfig
from tuneline.pretraining.recipe import make_model
from tuneline.pretraining.train import Step


@step(experiment_tracker=True)
def pretrain_base(tokenizer: Path, config: PretrainingConfig) -> Annotated[Path, "base_model"]:
    """Read the corpus; the loss curve goes to MLflow, the numbers into the card."""
    folder = scratch_folder("base")
    every = max(1, config.training.steps // 100)

    def report(moment: Step) -> None:
        if moment.index % every and moment.index + 1 != config.training.steps:
            return
        mlflow.log_metrics({"loss": moment.loss, "tokens_per_second": moment.tokens_per_second}, step=moment.index)
        left = (config.training.steps - moment.index) * config.training.rows * config.training.row_tokens
        print(
            f"pretraining: step {moment.index + 1}/{config.training.steps}  loss {moment.loss:.3f}  "
            f"{moment.tokens_per_second:,.0f} tokens/s  {left / moment.tokens_per_second / 60:.0f} min left",
            flush=True,
        )

    result = make_model(config, tokenizer, folder, report)
    log_metadata(
        {"copied": result.copied, "parameters": result.parameters, "tokens": result.tokens, "loss": result.losses[-1]},
        artifact_name="base_model",
        infer_artifact=True,
    )
    return folder
