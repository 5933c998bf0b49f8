"""transformers' Trainer with our batches and our loss. The loop, the schedules and the devices stay its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tuneline.errors import TunelineError
from tuneline.training.loss import supervised_loss
from tuneline.training.packing import Sample


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
    """

    step: int
    steps: int
    loss: float
    learning_rate: float
    grad_norm: float
    tokens_per_second: float
    seconds: float

    @property
    def remaining_seconds(self) -> float:
        """Time to the end at the speed so far."""
        return self.seconds / max(self.step, 1) * (self.steps - self.step)


class Rows(Dataset[list[Sample]]):
    """Packed rows of samples."""

    def __init__(self, samples: Sequence[Sample], rows: Sequence[Sequence[int]]) -> None:
        self._samples = samples
        self._rows = rows
        self.lengths = [sum(len(samples[i].ids) for i in row) for row in rows]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> list[Sample]:
        return [self._samples[i] for i in self._rows[index]]


class PackedTrainer(Trainer):  # type: ignore[misc]
    """Feeds rows without an attention mask and normalises the loss over the whole optimizer step."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # We normalise ourselves, so the Trainer must not divide by the accumulation steps again.
        self.model_accepts_loss_kwargs = True

    def get_batch_samples(
        self, epoch_iterator: Iterator[dict[str, Tensor]], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Tensor]], Tensor | None]:
        """Fetch one optimizer step's micro-batches and the sum of their loss weights."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        if not batches:
            return batches, None
        total = torch.stack([batch["loss_weights"][:, 1:].sum() for batch in batches]).sum().to(device)
        if self.args.world_size > 1:
            total = self.accelerator.gather(total).sum()
        return batches, total.clamp(min=1e-6)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Weighted loss on the supervised tokens; see ``tuneline.training.loss``."""
        outputs = model(input_ids=inputs["input_ids"], position_ids=inputs["position_ids"], use_cache=False)
        weights = inputs["loss_weights"]
        normaliser = weights[:, 1:].sum() if num_items_in_batch is None else num_items_in_batch
        loss = supervised_loss(outputs.logits, inputs["labels"], weights, normaliser)
        if self.args.world_size > 1 and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes  # DDP averages the gradients over processes
        return (loss, outputs) if return_outputs else loss


class Watch(TrainerCallback):  # type: ignore[misc]
    """Reports progress, ends the run in time, and stops a run whose loss is no number."""

    def __init__(
        self, on_progress: Callable[[Progress], None], tokens_per_step: float, max_seconds: float | None
    ) -> None:
        self._on_progress = on_progress
        self._tokens_per_step = tokens_per_step
        self._max_seconds = max_seconds
        self._started = 0.0
        self.history: list[Progress] = []

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """End the run when its time is up."""
        if self._max_seconds is not None and time.perf_counter() - self._started > self._max_seconds:
            control.should_training_stop = True

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
            tokens_per_second=self._tokens_per_step * state.global_step / seconds,
            seconds=seconds,
        )
        self.history.append(moment)
        self._on_progress(moment)
