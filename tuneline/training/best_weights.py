"""The weights of the best moment of a run, kept in memory while the run goes on."""

from __future__ import annotations

import torch
from torch import Tensor


class BestWeights:
    """A copy of what is trained, beside the model. Frozen weights never change, so they are not copied.

    Attributes:
        tensors: the copy by parameter name, on the CPU; empty before the first ``take``. A checkpoint may save it and
            put it back.
    """

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}

    def take(self, model: torch.nn.Module) -> None:
        """Copy the trainable weights as they are now, over the copy of before."""
        for name, weight in model.named_parameters():
            if weight.requires_grad:
                kept = self.tensors.setdefault(name, torch.empty_like(weight, device="cpu", requires_grad=False))
                kept.copy_(weight.detach())

    @torch.no_grad()
    def put_back(self, model: torch.nn.Module) -> bool:
        """Give the model the weights that were taken last.

        Returns:
            Whether there were any.
        """
        if not self.tensors:
            return False
        for name, weight in model.named_parameters():
            if weight.requires_grad:
                weight.copy_(self.tensors[name])
        return True
