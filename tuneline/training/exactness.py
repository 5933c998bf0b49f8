"""Whether a model keeps packed conversations apart: tried on the model itself, never assumed.

A model that lets them see each other trains without any error and learns the wrong thing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tuneline.training.packing import Sample

# Relative to the logits' spread. bfloat16 alone makes up to 0.01; samples that see each other
# moved the logits by several times their spread.
TOLERANCE = 0.05
_TOKENS = 64


@torch.no_grad()
def packing_difference(model: PreTrainedModel, first: Sequence[int], second: Sequence[int]) -> float:
    """Mean difference of the second sample's logits, packed behind the first against alone.

    Returns:
        The mean absolute difference, as a share of the logits' standard deviation.
    """
    was_training = model.training
    model.eval()
    ids = torch.tensor([[*first, *second]], device=model.device)
    positions = torch.cat([torch.arange(len(first)), torch.arange(len(second))])[None].to(model.device)
    packed: Tensor = model(input_ids=ids, position_ids=positions, use_cache=False).logits[0, len(first) :].float()
    alone: Tensor = model(input_ids=ids[:, len(first) :], use_cache=False).logits[0].float()
    model.train(was_training)
    return float((packed - alone).abs().mean() / alone.std())


def packing_is_exact(model: PreTrainedModel, samples: Sequence[Sample]) -> bool:
    """Try packing on two of the samples themselves.

    Returns:
        True if the model keeps them apart to within rounding.
    """
    first, second = samples[0].ids[:_TOKENS], samples[-1].ids[:_TOKENS]
    return packing_difference(model, first, second) < TOLERANCE
