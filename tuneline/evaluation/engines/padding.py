"""Sequences of different lengths as one batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def left_padded(sequences: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Pad on the left, so that all rows end in the same column.

    Returns:
        Token ids, mask (1: a token) and positions (the first token's is 0), each (rows, longest sequence).
    """
    width = max(map(len, sequences))
    ids = torch.tensor([[pad_id] * (width - len(sequence)) + list(sequence) for sequence in sequences], device=device)
    lengths = torch.tensor([len(sequence) for sequence in sequences], device=device)
    positions = torch.arange(width, device=device) - (width - lengths)[:, None]
    return ids, (positions >= 0).long(), positions.clamp(min=0)
