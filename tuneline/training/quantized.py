"""Weights that bitsandbytes holds in 4 or 8 bits: kept fit for training, and read as numbers again."""

from __future__ import annotations

from typing import Any

from bitsandbytes.functional import dequantize_4bit, int8_vectorwise_dequant
from torch import Tensor, nn


def keep_gradients_flowing(model: nn.Module) -> None:
    """Keep 4-bit weights from bitsandbytes' inference form on CPUs with AVX-512; call it before the first pass.

    A pass in evaluation mode, such as trying the packing of rows or a validation, packs them anew for a kernel without
    a backward pass, and nothing turns that back in training mode (bitsandbytes 0.50): the loss is right, but no
    gradient passes through the layer, so the blocks below learn nothing. It also rounds the blocks' scales to bfloat16,
    which moved log-probabilities by 0.003 nats.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]


def weight_of(layer: nn.Module) -> Tensor:
    """A linear layer's weight as a matrix of numbers, as it acts in the layer; its own weight if not quantized."""
    weight: Any = layer.weight
    kind = type(weight).__name__
    if kind == "Params4bit":
        values: Tensor = dequantize_4bit(weight.data, weight.quant_state)
    elif kind == "Int8Params":
        # The scales move from the weight to the layer's state with the first pass.
        state: Any = layer.state
        scales: Tensor = weight.SCB if state.SCB is None else state.SCB
        values = int8_vectorwise_dequant(weight.data, scales.to(weight.device))
    else:
        values = weight.detach()
    return values
