"""The training loss: weighted cross-entropy over the supervised tokens of the whole optimizer step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tuneline.training.head import bare_head, chunked_loss
from tuneline.training.layout import lay_out
from tuneline.training.packing import Sample, collate
from tuneline.training.trial import without_dropout


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


def batch_loss(
    model: nn.Module, batch: dict[str, Any], normaliser: Tensor | float, head: nn.Linear | None = None
) -> Tensor:
    """The loss of a micro-batch as ``tuneline.training.packing.collate`` makes it.

    Args:
        model: may be wrapped for several processes.
        batch: its tensors, on the model's device.
        normaliser: sum of the weights over the whole optimizer step.
        head: given where the model's forward stops before it (``tuneline.training.head``).

    Returns:
        A scalar.
    """
    blocks = {"blocks": batch["blocks"]} if "blocks" in batch else {}
    outputs = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False, **blocks)
    if head is None:
        return supervised_loss(outputs.logits, batch["labels"], batch["loss_weights"], normaliser)
    return chunked_loss(outputs.logits, head.weight, batch["labels"], batch["loss_weights"], normaliser)


@torch.no_grad()
def evaluate_loss(model: Any, samples: Sequence[Sample], micro_batch_tokens: int, *, packed: bool) -> float:
    """Mean loss of conversations that are not learnt from.

    Args:
        model: not wrapped; inside ``tuneline.training.fast.at_full_speed`` as in training.
        samples: what is measured.
        micro_batch_tokens: most tokens of a forward pass.
        packed: as in the run's plan.

    Returns:
        Nats per supervised token (weighted).
    """
    lengths = [len(sample.ids) for sample in samples]
    total, weight = 0.0, 0.0
    with without_dropout(model):
        for micro_batch in lay_out(range(len(samples)), lengths, micro_batch_tokens, ragged=packed):
            batch = collate(samples, micro_batch, 0, ragged=packed)
            batch = {name: part.to(model.device) if isinstance(part, Tensor) else part for name, part in batch.items()}
            total += float(batch_loss(model, batch, 1.0, bare_head(model)))
            weight += float(batch["loss_weights"][:, 1:].sum())
    return total / weight
