"""Which samples go into which row and which row into which batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch.utils.data import Dataset
from transformers import PreTrainedModel

from tuneline.errors import UserError
from tuneline.training.exactness import packing_is_exact
from tuneline.training.packing import Sample, one_per_row, pack_best_fit

if TYPE_CHECKING:
    from tuneline.config import ModelConfig, TrainingConfig


class Rows(Dataset[list[Sample]]):
    """Packed rows of samples."""

    def __init__(self, samples: Sequence[Sample], rows: Sequence[Sequence[int]], *, packed: bool) -> None:
        self._samples = samples
        self._rows = rows
        self.packed = packed
        self.lengths = [sum(len(samples[i].ids) for i in row) for row in rows]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> list[Sample]:
        return [self._samples[i] for i in self._rows[index]]


def plan_rows(base: PreTrainedModel, samples: Sequence[Sample], model: ModelConfig, training: TrainingConfig) -> Rows:
    """Pack the samples into rows if the base model keeps them apart, else one a row.

    Raises:
        UserError: ``training.packing`` is on and the model cannot.
    """
    packed = training.packing != "off" and packing_is_exact(base, samples)
    if training.packing == "on" and not packed:
        raise UserError(
            f"training.packing is 'on', but {model.base} lets packed conversations see each other",
            hint="Set training.packing to auto: rows then hold one conversation each, grouped by length.",
        )
    lengths = [len(sample.ids) for sample in samples]
    rows = pack_best_fit(lengths, training.max_length) if packed else one_per_row(lengths)
    return Rows(samples, rows, packed=packed)
