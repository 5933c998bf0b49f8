"""Whether a model keeps conversations in a shared row apart: tried on the model itself, never assumed.

A model that lets them see each other trains without any error and learns the wrong thing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tuneline.training.block_attention import BlocksUnsupportedError, block_attention
from tuneline.training.layout import Block
from tuneline.training.packing import Sample, collate
from tuneline.training.trial import without_dropout

# Relative to the logits' spread. bfloat16 alone makes up to 0.01; samples that see each other
# moved the logits by several times their spread.
TOLERANCE = 0.05
_TOKENS = 64


@torch.no_grad()
def packing_difference(model: PreTrainedModel, conversations: Sequence[Sequence[int]]) -> float:
    """Largest mean difference of a conversation's logits, in a row with the others against alone.

    Args:
        model: the base model.
        conversations: token ids; the first gets a block of its own, the others share one.

    Returns:
        The mean absolute difference, as a share of the logits' standard deviation.

    Raises:
        BlocksUnsupportedError: the model's attention cannot be cut into blocks.
    """
    samples = [Sample(list(ids), [1.0] * len(ids)) for ids in conversations]
    rest = range(1, len(samples))
    blocks = (Block((0,), len(samples[0].ids)), Block(tuple(rest), max(len(samples[i].ids) for i in rest)))
    batch = collate(samples, blocks, pad_id=0, ragged=True)
    differences = []
    with without_dropout(model):
        with block_attention(model):
            packed: Tensor = model(
                input_ids=batch["input_ids"].to(model.device),
                position_ids=batch["position_ids"].to(model.device),
                blocks=batch["blocks"],
                use_cache=False,
            ).logits[0]
        for index, sample in enumerate(samples):
            begin = 0 if index == 0 else blocks[0].width + (index - 1) * blocks[1].width
            alone: Tensor = model(input_ids=torch.tensor([sample.ids], device=model.device), use_cache=False).logits[0]
            there = packed[begin : begin + len(sample.ids)].float()
            differences.append(float((there - alone.float()).abs().mean() / alone.float().std()))
    return max(differences)


def packing_is_exact(model: PreTrainedModel, samples: Sequence[Sample]) -> bool:
    """Try packing on three of the samples themselves.

    Returns:
        True if the model keeps them apart to within rounding.
    """
    chosen = [samples[place].ids[:_TOKENS] for place in (0, len(samples) // 2, -1)]
    try:
        return packing_difference(model, chosen) < TOLERANCE
    except (BlocksUnsupportedError, TypeError, ValueError):  # no such attention, or a forward that takes no `blocks`
        return False
