"""From the layout of a micro-batch to its tensors: conversations share a row, so that no time is spent on padding.

``position_ids`` begin again at 0 with every conversation. There is never an attention mask: padding stands after a
conversation, where causal attention does not look, and blocks are kept apart by ``tuneline.training.block_attention``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tuneline.training.layout import Block, MicroBatch


@dataclass(frozen=True)
class Sample:
    """One tokenised conversation.

    Attributes:
        ids: token ids.
        weights: the loss weight of each token, 0 where nothing is to be learnt; as long as ``ids``.
        source: index of the record it was made from; -1 if it is none's.
    """

    ids: list[int]
    weights: list[float]
    source: int = -1

    @property
    def supervised(self) -> int:
        """Number of tokens with a loss."""
        return sum(weight > 0 for weight in self.weights)


NOTHING = Sample([0, 0], [0.0, 0.0])  # what a process computes while the others still have something to do


def collate(samples: Sequence[Sample], micro_batch: MicroBatch, pad_id: int, *, ragged: bool) -> dict[str, Any]:
    """Make the tensors of a micro-batch.

    Args:
        samples: the whole set, which the layout's indices point into.
        micro_batch: its layout; an empty one gives two tokens without loss.
        pad_id: what stands after a conversation.
        ragged: one row of blocks, or one block.

    Returns:
        ``input_ids``, ``position_ids``, ``labels`` (int64) and ``loss_weights`` (float32), ``[1, tokens]`` and
        ``blocks`` (rows and width of each) if ragged, else ``[rows, width]``. ``labels`` are -100 where the weight is
        0 and are not shifted.
    """
    if not micro_batch:
        samples, micro_batch = [NOTHING], (Block((0,), 2),)
    parts = [_block(samples, block, pad_id) for block in micro_batch]
    if ragged:
        ids, positions, weights = (torch.cat([part[i].flatten() for part in parts])[None] for i in range(3))
    else:
        ids, positions, weights = parts[0]
    batch: dict[str, Any] = {
        "input_ids": ids,
        "position_ids": positions,
        "labels": torch.where(weights > 0, ids, -100),
        "loss_weights": weights,
    }
    if ragged:
        batch["blocks"] = tuple((len(block.samples), block.width) for block in micro_batch)
    return batch


def _block(samples: Sequence[Sample], block: Block, pad_id: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rows = [samples[index] for index in block.samples]
    ids = torch.tensor([row.ids + [pad_id] * (block.width - len(row.ids)) for row in rows])
    weights = torch.tensor([row.weights + [0.0] * (block.width - len(row.ids)) for row in rows])
    weights[:, 0] = 0.0  # a conversation's first token would be predicted from the one before it
    return ids, torch.arange(block.width).expand(len(rows), -1), weights
