"""Which optimizer runs, by the name that transformers knows it under, and LoRA+'s two step sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.optim import Optimizer

if TYPE_CHECKING:
    from tuneline.config import TrainingConfig

_NAMES = {"adamw": "adamw_torch_fused", "adamw_8bit": "adamw_8bit", "paged_adamw_8bit": "paged_adamw_8bit"}


def optimizer_name(training: TrainingConfig) -> str:
    """The name that transformers knows the optimizer under.

    An adapter's state is small, so ``auto`` keeps it exact. With all weights of a 7B model AdamW's state is 54 GB in
    float32 and 14 GB in 8 bits (arXiv:2110.02861), in pages that go to the machine's memory when the GPU's is full.
    """
    if training.optimizer == "auto":
        return _NAMES["paged_adamw_8bit" if training.method == "full" and torch.cuda.is_available() else "adamw"]
    return _NAMES[training.optimizer]


def let_b_learn_faster(optimizer: Optimizer, model: nn.Module, ratio: float) -> None:
    """LoRA+ (arXiv:2402.12354): give the B matrices ``ratio`` times the learning rate of everything else.

    Call it before a schedule is made, which takes each group's rate as it finds it.
    """
    fast = {id(weight) for name, weight in model.named_parameters() if "lora_B" in name or "lora_embedding_B" in name}
    for group in list(optimizer.param_groups):
        quick = [weight for weight in group["params"] if id(weight) in fast]
        if quick:
            group["params"] = [weight for weight in group["params"] if id(weight) not in fast]
            optimizer.add_param_group({**group, "params": quick, "lr": group["lr"] * ratio})
