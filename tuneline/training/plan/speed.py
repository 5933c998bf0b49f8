"""How long a run takes: the operations a token costs, and the share of the peak that is usually reached.

Operations per token (Kaplan et al., 2020, arXiv:2001.08361): a product with N weights costs 2N forward and 4N backward,
half of it for the gradient of the weights. Frozen weights have none: 4N. Checkpointing computes forward again: 2N
more. Attention costs 2 products of the width with each key, and a token sees half of its row's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuneline.training.plan.architecture import Architecture
from tuneline.training.plan.cards import Device

if TYPE_CHECKING:
    from tuneline.config import ModelConfig, TrainingConfig

# Reached of a data sheet's peak by LoRA in bfloat16 on rows of 1 to 4 thousand tokens; with 4 or 8 bits, weights are
# unpacked before each product. A CPU's is of its own measured product of large matrices: adapters' are small.
UTILISATION = {"cuda": 0.40, "cuda-quantized": 0.30, "cpu": 0.25}
# A product measured on a GPU is the peak that can be had, about three quarters of the data sheet's.
_MEASURED = 0.55


def utilisation(model: ModelConfig, device: Device) -> float:
    """The assumed share of ``device.flops``."""
    if device.kind == "cpu":
        return UTILISATION["cpu"]
    share = UTILISATION["cuda" if model.quantization == "none" else "cuda-quantized"]
    return share / 0.40 * _MEASURED if device.measured else share


def flops_per_token(
    architecture: Architecture, training: TrainingConfig, trainable: int, *, checkpointing: bool
) -> float:
    """Operations for one token, forward and backward.

    Args:
        architecture: of the base model.
        training: the config's section.
        trainable: number of trained weights.
        checkpointing: forward is computed twice.
    """
    base = architecture.product
    again = 2 if checkpointing else 0
    products = (6 + again) * base if training.method == "full" else (4 + again) * base + (6 + again) * trainable
    keys = training.max_length / 2
    attention = (3 + again / 2) * 2 * 2 * architecture.attention_width * keys
    return products + attention


def tokens_per_second(flops: float, model: ModelConfig, training: TrainingConfig, device: Device) -> float | None:
    """Expected over all processes; None on a device of unknown speed."""
    if device.flops is None:
        return None
    return device.flops * utilisation(model, device) * training.distributed.processes / flops
