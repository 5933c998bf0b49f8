"""A run as it is seen while it goes: its moments, its end in time, and its stop when the loss is no number."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tuneline.errors import TunelineError
from tuneline.training.validation import Validation


@dataclass(frozen=True)
class Progress:
    """A moment of the run.

    Attributes:
        step: optimizer steps done.
        steps: optimizer steps in all.
        loss: mean loss per supervised token since the last moment, nats.
        learning_rate: at this step.
        grad_norm: before clipping.
        tokens_per_second: useful (non-padding) tokens, prompt included, over the whole run so far.
        seconds: since the first step began.
        memory_gib: peak so far, of the GPU or of this process without one.
        validation_loss: measured at this moment, nats per supervised token; None where it was not.
    """

    step: int
    steps: int
    loss: float
    learning_rate: float
    grad_norm: float
    tokens_per_second: float
    seconds: float
    memory_gib: float = 0.0
    validation_loss: float | None = None

    @property
    def remaining_seconds(self) -> float:
        """Time to the end at the speed so far."""
        return self.seconds / max(self.step, 1) * (self.steps - self.step)


def peak_memory_gib() -> float:
    """Peak of the GPU's allocations, or of this process's resident memory without a GPU, GiB."""
    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated() / 2**30)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def useful_tokens(batch: Mapping[str, Tensor]) -> Tensor:
    """Number of tokens of a collated batch that belong to a conversation, without the padding behind the last of a row.

    Every conversation has a supervised token and padding has none, so a row's last segment (position ids begin at 0
    with each) is padding if nothing in it is supervised.
    """
    positions, supervised = batch["position_ids"], batch["labels"] != -100
    width = positions.shape[1]
    last = width - 1 - positions[:, -1]  # where the last segment of each row begins
    in_last = torch.arange(width, device=positions.device) >= last[:, None]
    return torch.where((supervised & in_last).any(1), width, last).sum()


class Watch(TrainerCallback):  # type: ignore[misc]
    """Reports progress, ends the run in time, and stops a run whose loss is no number.

    It counts on ``state.num_input_tokens_seen``, which ``PackedTrainer`` adds useful tokens to and a checkpoint keeps.
    The last step is always a moment of the history, whatever the distance between two.

    Attributes:
        stopped: why the run was ended early; None if it was not.
    """

    def __init__(
        self,
        on_progress: Callable[[Progress], None],
        max_minutes: float | None = None,
        validation: Validation | None = None,
    ) -> None:
        self._on_progress = on_progress
        self._max_minutes = max_minutes
        self._validation = validation
        self._started = 0.0
        self.history: list[Progress] = []
        self.stopped: str | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """End the run when its time is up."""
        minutes = self._max_minutes
        if minutes is not None and time.perf_counter() - self._started > minutes * 60:
            if state.global_step < state.max_steps:
                self.stopped = f"its time was up after {minutes:g} minutes (training.max_minutes)"
            control.should_training_stop = True
        if control.should_training_stop:
            control.should_log = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Pass a moment on."""
        if not logs or "loss" not in logs:
            return
        seconds = time.perf_counter() - self._started
        loss = float(logs["loss"])
        if loss != loss or loss in (float("inf"), float("-inf")):
            raise TunelineError(
                f"the loss is {loss} at step {state.global_step} of {state.max_steps}",
                hint="Lower training.learning_rate, or look for broken rows with a smaller data.sources limit. "
                "No adapter was written.",
            )
        moment = Progress(
            step=state.global_step,
            steps=state.max_steps,
            loss=loss,
            learning_rate=float(logs.get("learning_rate", 0.0)),
            grad_norm=float(logs.get("grad_norm", 0.0)),
            tokens_per_second=state.num_input_tokens_seen / seconds,
            seconds=seconds,
            memory_gib=peak_memory_gib(),
            validation_loss=self._validation.measured.get(state.global_step) if self._validation else None,
        )
        self.history.append(moment)
        self._on_progress(moment)
