"""A look at what a model computes in the middle of a training, which must change nothing in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def without_dropout(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for all but 4-bit layers, which would not come back from it.

    On CPU bitsandbytes (0.50) packs a layer's weights for inference at its first forward in evaluation mode and leaves
    them so. The packed product has no gradient: training would go on without an error, and learn the wrong thing.
    """
    was_training = model.training
    model.eval()
    for module in model.modules():
        if getattr(getattr(module, "weight", None), "quant_state", None) is not None:
            module.training = True
    try:
        yield
    finally:
        model.train(was_training)
