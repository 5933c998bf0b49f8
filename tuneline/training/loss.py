"""The training loss: weighted cross-entropy over the supervised tokens of the whole optimizer step."""

from __future__ import annotations

import torch
from torch import Tensor


def supervised_loss(logits: Tensor, labels: Tensor, weights: Tensor, normaliser: Tensor | float) -> Tensor:
    """Weighted next-token cross-entropy.

    Only positions whose next token is supervised enter the softmax: on chat data most tokens are
    prompt, and the float32 copy of their logits is the largest tensor of a step.

    Args:
        logits: ``[rows, tokens, vocabulary]``.
        labels: ``[rows, tokens]``, -100 where there is nothing to learn.
        weights: ``[rows, tokens]``, weight of predicting the token at that place.
        normaliser: sum of the weights over all micro-batches of the optimizer step, so that
            accumulation changes nothing (a mean of means would weigh short batches up).

    Returns:
        A scalar.
    """
    targets = labels[:, 1:]
    chosen = targets != -100
    losses = torch.nn.functional.cross_entropy(logits[:, :-1][chosen].float(), targets[chosen], reduction="none")
    return (losses * weights[:, 1:][chosen]).sum() / normaliser
