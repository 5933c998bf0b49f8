"""LoftQ (arXiv:2310.08659): an adapter that starts from what 4-bit rounding lost of the weights.

The paper alternates between fitting the adapter to the loss and rounding the rest again, which makes a base model of
its own. Here the base stays the ordinary NF4 model and only the adapter is fitted: one round of the alternation. So the
adapter works on the very base that everybody's engine makes of the original weights, beside any other adapter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor

from tuneline.training.base_model import load_base
from tuneline.training.quantized import weight_of

if TYPE_CHECKING:
    from tuneline.config import ModelConfig

_EXACT_UP_TO = 1024  # rows or columns; above, a full SVD takes seconds a layer and the randomised one is near enough


@torch.no_grad()
def fit_what_rounding_lost(adapted: PeftModel, model: ModelConfig) -> None:
    """Set every layer's A and B so that ``s·BA`` is nearest to the original weight less the rounded one.

    The original weights are read once more, into the machine's memory.
    """
    original = load_base(model, device="cpu")
    for name, module in adapted.get_base_model().named_modules():
        if not isinstance(module, LoraLayer):
            continue
        rounded = weight_of(module.get_base_layer()).float()
        lost = original.get_submodule(name).weight.to(rounded.device).float() - rounded
        left, right = low_rank(lost, module.r["default"])
        root = module.scaling["default"] ** 0.5
        lora_a, lora_b = module.lora_A["default"].weight, module.lora_B["default"].weight
        lora_a.copy_(right / root)
        lora_b.copy_(left / root)


def low_rank(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The nearest product of two thin matrices.

    Args:
        matrix: ``[out, in]``, float32.
        rank: at most the smaller side.

    Returns:
        ``[out, rank]`` and ``[rank, in]``, each with the roots of the singular values.
    """
    if min(matrix.shape) <= _EXACT_UP_TO:
        u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    else:
        u, s, v = torch.svd_lowrank(matrix, q=2 * rank, niter=4)
        vh = v.T
    root = s[:rank].sqrt()
    return u[:, :rank] * root, root[:, None] * vh[:rank]
