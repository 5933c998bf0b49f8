"""What several processes can share: checked before any of them is started."""

from __future__ import annotations

from collections.abc import Iterator

from tuneline.config.model import ModelConfig
from tuneline.config.problem import Finding
from tuneline.config.training import TrainingConfig


def every_process_gets_a_row(training: TrainingConfig) -> Iterator[Finding]:
    """A process without work would still wait for the others in every step."""
    processes, rows = training.distributed.processes, training.batch_tokens // training.max_length
    if processes > max(1, rows):
        what = f"is {training.batch_tokens}, which is {rows} rows of max_length for {processes} processes"
        yield Finding(("training", "batch_tokens"), what, f"at least {processes * training.max_length}")


def strategy_can_share_the_model(training: TrainingConfig, model: ModelConfig) -> Iterator[Finding]:
    """Sharding cuts weights into pieces, and the pieces of quantized ones cannot be put together again."""
    strategy, path = training.distributed.strategy, ("training", "distributed", "strategy")
    if strategy == "ddp":
        return
    if training.distributed.processes == 1:
        what = f"is {strategy}, but there is a single process (distributed.processes)"
        yield Finding(path, what, "ddp, or the number of GPUs as distributed.processes")
    elif model.quantization != "none":
        what = f"is {strategy}, which cannot share out a model of quantization {model.quantization}"
        yield Finding(path, what, "ddp, which holds the quantized model in every process, or model.quantization: none")


DISTRIBUTED_CHECKS = (every_process_gets_a_row, strategy_can_share_the_model)
