"""The training loss: weighted cross-entropy over the supervised tokens of the whole optimizer step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from tuneline.training.head import chunked_loss

# Rows and columns of the tokens that predict a supervised one, as ``Tensor.nonzero`` gives them.
Places = tuple[Tensor, ...]


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
    return _loss_at(logits, labels, weights, normaliser, supervised(labels), None)


def supervised(labels: Tensor) -> Places:
    """Where the next token is supervised; a GPU is waited for, because nobody else knows how many there are."""
    return (labels[:, 1:] != -100).nonzero(as_tuple=True)


def batch_loss(
    model: Callable[..., Any],
    batch: dict[str, Any],
    normaliser: Tensor | float,
    head: nn.Linear | None = None,
    places: Places | None = None,
) -> Tensor:
    """The loss of a micro-batch as ``tuneline.training.packing.collate`` makes it.

    Args:
        model: may be wrapped for several processes.
        batch: its tensors, on the model's device.
        normaliser: sum of the weights over the whole optimizer step.
        head: given where the model's forward stops before it (``tuneline.training.head``).
        places: of the supervised tokens, where the labels have no numbers; None: where the labels say.

    Returns:
        A scalar.
    """
    blocks = {"blocks": batch["blocks"]} if "blocks" in batch else {}
    outputs = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False, **blocks)
    places = supervised(batch["labels"]) if places is None else places
    return _loss_at(outputs.logits, batch["labels"], batch["loss_weights"], normaliser, places, head)


def _loss_at(
    outputs: Tensor,
    labels: Tensor,
    weights: Tensor,
    normaliser: Tensor | float,
    places: Places,
    head: nn.Linear | None,
) -> Tensor:
    """Of logits, or of hidden states where there is a head to be put on them."""
    chosen, targets = outputs[:, :-1][places], labels[:, 1:][places]
    shares = weights[:, 1:][places] / normaliser
    if head is not None:
        return chunked_loss(chosen, head.weight, targets, shares)
    return (nn.functional.cross_entropy(chosen.float(), targets, reduction="none") * shares).sum()
