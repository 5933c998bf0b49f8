"""Loss on conversations that are never learnt from, measured while the run goes on; early stopping by it.

The measurement sees the rows that training would make of them, without dropout and without gradients. It takes no
random numbers, so a run with validation learns exactly what the same run without it learns from the same records.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tuneline.errors import TunelineError
from tuneline.training.best_weights import BestWeights
from tuneline.training.head import bare_head
from tuneline.training.layout import lay_out
from tuneline.training.loss import batch_loss
from tuneline.training.packing import Sample, collate

if TYPE_CHECKING:
    from tuneline.config import TrainingConfig
    from tuneline.config.training_parts import ValidationConfig

_MEASUREMENTS = 20  # in a run, unless the config says how far they are apart


def is_kept_back(record_id: str, share: float, seed: int) -> bool:
    """Whether a record is for validation. Its id and the seed decide, so it stays so when other records come."""
    digest = hashlib.sha256(f"validation {seed} {record_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def validation_batches(
    samples: Sequence[Sample], *, packed: bool, micro_batch_tokens: int, pad_id: int
) -> list[dict[str, Any]]:
    """Make micro-batches of the samples, laid out as those of training are.

    Args:
        samples: kept back.
        packed: as in the run's plan.
        micro_batch_tokens: tokens in a micro-batch, padding included.
        pad_id: any known token.

    Returns:
        What ``collate`` makes, several times.
    """
    lengths = [len(sample.ids) for sample in samples]
    layout = lay_out(range(len(samples)), lengths, micro_batch_tokens, ragged=packed)
    return [collate(samples, micro_batch, pad_id, ragged=packed) for micro_batch in layout]


@torch.no_grad()
def validation_loss(model: Any, batches: Sequence[dict[str, Any]], device: torch.device) -> float:
    """Mean loss over all supervised tokens of the batches, shared out among the processes that train together.

    Every process runs the model equally often, as sharded models need: who has no batch left runs the first of all
    once more, and it does not count.

    Returns:
        Nats per supervised token; the same in every process.
    """
    rank, world = (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)
    sums = torch.zeros(2, dtype=torch.float64, device="cpu" if device.type == "mps" else device)
    was_training = model.training
    model.eval()
    try:
        for turn in range(0, len(batches), world):
            counts = turn + rank < len(batches)
            chosen = batches[turn + rank if counts else 0]
            batch = {name: part.to(device) if isinstance(part, Tensor) else part for name, part in chosen.items()}
            loss = batch_loss(model, batch, 1.0, bare_head(model))
            if counts:
                sums[0] += loss.double()
                sums[1] += batch["loss_weights"][:, 1:].sum().double()
    finally:
        model.train(was_training)
    if world > 1:
        distributed.all_reduce(sums)
    return float(sums[0] / sums[1])


class Validation(TrainerCallback):  # type: ignore[misc]
    """Measures the loss every so many steps and at the end, remembers the best, and stops a run that gets no better.

    Attributes:
        measured: loss by optimizer step, in order.
        best: weights of the best step; taken only where the run may be stopped (``patience``).
        stopped: why the run was ended early; None if it was not.
    """

    def __init__(self, config: ValidationConfig, batches: Sequence[dict[str, Any]]) -> None:
        self._config = config
        self._batches = batches
        self.measured: dict[int, float] = {}
        self.best = BestWeights()
        self.stopped: str | None = None

    @property
    def best_step(self) -> int | None:
        """The step with the lowest loss, the first of equals; None before the first measurement."""
        return min(self.measured, key=self.measured.__getitem__, default=None)

    @property
    def best_loss(self) -> float | None:
        """The lowest loss, nats per supervised token."""
        return min(self.measured.values(), default=None)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: the losses, and the best weights."""
        return {"measured": [[step, loss] for step, loss in self.measured.items()], "best": self.best.tensors}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up again what ``state_dict`` gave."""
        self.measured = {int(step): float(loss) for step, loss in state["measured"]}
        self.best.tensors = dict(state["best"])

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Measure if it is time, keep the best weights, and stop if nothing got better for long."""
        step = state.global_step
        every = self._config.every_steps or max(1, state.max_steps // _MEASUREMENTS)
        if step % every and step < state.max_steps and not control.should_training_stop:
            return
        loss = validation_loss(kwargs["model"], self._batches, args.device)
        if loss != loss or loss == float("inf"):
            raise TunelineError(
                f"the validation loss is {loss} at step {step} of {state.max_steps}",
                hint="Lower training.learning_rate. No adapter was written.",
            )
        self.measured[step] = loss
        control.should_log = True
        patience = self._config.patience
        if patience is None:
            return
        if self.best_step == step:
            self.best.take(kwargs["model"])
        since = list(self.measured).index(self.best_step) if self.best_step is not None else 0
        if len(self.measured) - 1 - since >= patience and step < state.max_steps:
            self.stopped = (
                f"no lower validation loss than that of step {self.best_step} in {patience} measurements "
                f"(training.validation.patience)"
            )
            control.should_training_stop = True

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Give the model its best weights, if they were kept."""
        self.best.put_back(kwargs["model"])


def planned_validation(
    training: TrainingConfig, samples: Sequence[Sample], *, packed: bool, pad_id: int
) -> Validation | None:
    """What measures the loss on the samples that were kept back; None if the config wants none."""
    if training.validation is None:
        return None
    batches = validation_batches(samples, packed=packed, micro_batch_tokens=training.micro_batch_tokens, pad_id=pad_id)
    return Validation(training.validation, batches)
