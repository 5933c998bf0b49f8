"""A run as it is seen while it goes: its moments, its end in time, and its stop when the loss is no number."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
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


class Watch(TrainerCallback):  # type: ignore[misc]
    """Reports progress, ends the run in time, and stops a run whose loss is no number.

    It counts on ``state.num_input_tokens_seen``: ``PackedTrainer`` adds a step's tokens to it, a checkpoint keeps it.
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
        self._seconds_before = 0.0  # of the processes that were interrupted
        self.history: list[Progress] = []
        self.stopped: str | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock."""
        self._started = time.perf_counter() - self._seconds_before

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: the moments so far and the time that they took."""
        return {"history": [asdict(moment) for moment in self.history], "seconds": time.perf_counter() - self._started}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the moments of an interrupted process, and tell them again: who listens now has not heard them."""
        self._seconds_before = float(state["seconds"])
        self.history = [Progress(**moment) for moment in state["history"]]
        for moment in self.history:
            self._on_progress(moment)

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
