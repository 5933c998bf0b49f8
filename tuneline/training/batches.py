"""Which conversations make up which optimizer step, and what a process loads for it.

The steps are planned once, in tokens: every epoch is shuffled anew and cut into steps of about the same number of
tokens, so that a step mixes lengths as the data does. Only inside a step are conversations sorted by length. The plan
depends on the lengths, the seed and ``batch_tokens`` alone, so that step 137 is the same whoever asks for it: after a
resume, with another number of processes, or with a smaller micro-batch.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from torch.utils.data import Dataset
from transformers import PreTrainedModel

from tuneline.errors import UserError
from tuneline.training.exactness import packing_is_exact
from tuneline.training.layout import MicroBatch, deal, lay_out
from tuneline.training.packing import Sample, collate

if TYPE_CHECKING:
    from tuneline.config import ModelConfig, TrainingConfig


@dataclass(frozen=True)
class Plan:
    """The optimizer steps of a run.

    Attributes:
        lengths: tokens of each conversation.
        batch_tokens: about how many useful tokens a step has, over all processes.
        micro_batch_tokens: most tokens of a forward pass; changes how a step is cut and nothing else.
        steps: of the whole run.
        seed: of the order.
        packed: whether conversations of different lengths share a pass.
    """

    lengths: tuple[int, ...]
    batch_tokens: int
    micro_batch_tokens: int
    steps: int
    seed: int
    packed: bool

    @property
    def tokens(self) -> int:
        """Useful tokens of one epoch."""
        return sum(self.lengths)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in which every conversation is seen once."""
        return steps_per_epoch(self.lengths, self.batch_tokens)

    def samples(self, step: int) -> tuple[int, ...]:
        """Indices of the conversations of a step, counted from 0."""
        epoch, place = divmod(step, self.steps_per_epoch)
        return _epoch(self.lengths, self.steps_per_epoch, self.seed, epoch)[place]

    def tokens_of(self, step: int) -> int:
        """Useful tokens of a step, over all processes."""
        return sum(self.lengths[index] for index in self.samples(step))

    def micro_batches(self, step: int, processes: int = 1) -> list[list[MicroBatch]]:
        """The forward passes of a step for each of so many processes, equally many for all of them."""
        cut = lay_out(
            self.samples(step), self.lengths, self.micro_batch_tokens, ragged=self.packed, processes=processes
        )
        return deal(cut, processes)


def steps_per_epoch(lengths: Sequence[int], batch_tokens: int) -> int:
    """Optimizer steps of about ``batch_tokens`` tokens in which every conversation is seen once."""
    return min(len(lengths), max(1, round(sum(lengths) / batch_tokens)))


@lru_cache(maxsize=2)
def _epoch(lengths: tuple[int, ...], steps: int, seed: int, epoch: int) -> tuple[tuple[int, ...], ...]:
    order = list(range(len(lengths)))
    random.Random(f"{seed} {epoch}").shuffle(order)
    total, before, cut = sum(lengths), 0, [0]
    for place, index in enumerate(order):
        before += lengths[index]
        enough = before >= total * len(cut) / steps or len(order) - place - 1 <= steps - len(cut)
        if len(cut) < steps and enough:
            cut.append(place + 1)
    return tuple(tuple(order[a:b]) for a, b in zip(cut, [*cut[1:], len(order)], strict=True))


class Steps(Dataset[list[dict[str, Any]]]):
    """The run as a dataset: item ``i`` is optimizer step ``i``, a list of this process's micro-batches."""

    def __init__(
        self, samples: Sequence[Sample], plan: Plan, pad_id: int, *, process: int = 0, processes: int = 1
    ) -> None:
        self.plan = plan
        self._samples = samples
        self._pad_id = pad_id
        self._process = process
        self._processes = processes

    def __len__(self) -> int:
        return self.plan.steps

    def __getitem__(self, step: int) -> list[dict[str, Any]]:
        own = self.plan.micro_batches(step, self._processes)[self._process]
        return [collate(self._samples, each, self._pad_id, ragged=self.plan.packed) for each in own]


def plan_batches(
    base: PreTrainedModel, samples: Sequence[Sample], model: ModelConfig, training: TrainingConfig
) -> Plan:
    """Plan the run; conversations share rows if the base model keeps them apart.

    Raises:
        UserError: ``training.packing`` is on and the model cannot.
    """
    if training.packing == "on" and training.torch_compile:
        raise UserError(
            "training.packing is 'on' together with training.torch_compile, which would compile every row anew",
            hint="Set training.packing to auto: conversations are then grouped by length.",
        )
    packed = training.packing != "off" and not training.torch_compile and packing_is_exact(base, samples)
    if training.packing == "on" and not packed:
        raise UserError(
            f"training.packing is 'on', but {model.base} lets packed conversations see each other",
            hint="Set training.packing to auto: conversations are then grouped by length.",
        )
    lengths = tuple(len(sample.ids) for sample in samples)
    epoch = steps_per_epoch(lengths, training.batch_tokens)
    return Plan(
        lengths=lengths,
        batch_tokens=training.batch_tokens,
        micro_batch_tokens=training.micro_batch_tokens,
        steps=training.max_steps or max(1, math.floor((training.epochs or 1.0) * epoch + 0.5)),
        seed=training.seed,
        packed=packed,
    )
