"""What a training run took and reached."""

from __future__ import annotations

from dataclasses import dataclass

from tuneline.training.adapter import LoraAdapter
from tuneline.training.progress import Progress


@dataclass(frozen=True)
class TrainingRun:
    """The numbers of a run, as ``training.json`` keeps them.

    Attributes:
        method: ``lora`` or ``full``.
        steps: optimizer steps.
        final_loss: mean loss of the last logged steps, nats per supervised token.
        samples: conversations in the training set.
        too_long: conversations left out because they exceed ``training.max_length``.
        tokens: useful tokens in the training set; ``supervised_tokens`` of them with a loss.
        packed: whether conversations shared rows.
        trainable_parameters: of the adapter, or of the whole model.
        seconds: of the loop alone, over all processes that a killed run took.
        tokens_per_second: useful tokens.
        peak_memory_gib: of the GPU, or of this process without one.
        device: the GPU's name, or ``CPU``.
        software: versions by name: tuneline and the libraries that decide the result.
        processes: that trained together.
        micro_batch_tokens: tokens per pass at the end; less than the config's after memory ran out.
        resumed_from: steps at which the run was taken up again after an interruption.
        stopped: why it ended before its last step; None if it did not.
        validation_samples: conversations kept back for validation.
        best_validation_loss: the lowest, nats per supervised token; None without validation.
        best_step: where it was.
    """

    method: str
    steps: int
    final_loss: float
    samples: int
    too_long: int
    tokens: int
    supervised_tokens: int
    packed: bool
    trainable_parameters: int
    seconds: float
    tokens_per_second: float
    peak_memory_gib: float
    device: str
    software: dict[str, str]
    processes: int = 1
    micro_batch_tokens: int = 0
    resumed_from: tuple[int, ...] = ()
    stopped: str | None = None
    validation_samples: int = 0
    best_validation_loss: float | None = None
    best_step: int | None = None


@dataclass(frozen=True)
class TrainingOutcome:
    """The adapter, its numbers and the loss curve."""

    adapter: LoraAdapter
    run: TrainingRun
    curve: tuple[Progress, ...]
