"""PiSSA (arXiv:2404.02948): training starts from the largest singular values, which are taken out of the base model.

So the adapter that was trained belongs to a base model that exists nowhere else. What is written is a plain LoRA of
twice the rank that does the same on the original base: with ``W = W_res + s·B₀A₀``, ``W_res + s·BA`` is
``W + s·[B, -B₀]·[A; A₀]``. The engine must take that rank, which the config's checks see to.
"""

from __future__ import annotations

import copy

import torch
from peft import LoraConfig, PeftModel, get_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from torch import Tensor

# Randomised SVD with 16 passes, as good as the exact one in the paper, and seconds instead of minutes at 7B.
PEFT_NAME = "pissa_niter_16"
_START = "pissa_start"


@torch.no_grad()
def remember_start(adapted: PeftModel) -> None:
    """Keep A₀ and B₀ of every layer; nothing else of them survives the first step."""
    for module in adapted.modules():
        if isinstance(module, LoraLayer):
            start = (module.lora_A["default"].weight, module.lora_B["default"].weight)
            setattr(module, _START, tuple(weight.detach().float().cpu().clone() for weight in start))


@torch.no_grad()
def as_plain_lora(trained: PeftModel) -> tuple[LoraConfig, dict[str, Tensor]]:
    """The adapter for the original base model.

    Returns:
        PEFT's configuration and the tensors of ``adapter_model.safetensors``, with rank ``2r`` and the same scaling.
    """
    starts = {
        name: getattr(module, _START) for name, module in trained.named_modules() if isinstance(module, LoraLayer)
    }
    state: dict[str, Tensor] = {}
    for name, tensor in get_peft_model_state_dict(trained, save_embedding_layers=False).items():
        layer, kind = name.removesuffix(".weight").rsplit(".", 1)
        first_a, first_b = starts[layer]
        own = tensor.detach().float().cpu()
        if kind == "lora_A":
            state[name] = torch.cat([own, first_a], dim=0).contiguous()
        else:
            state[name] = torch.cat([own, -first_b], dim=1).contiguous()
    config = copy.deepcopy(trained.peft_config["default"])
    config.init_lora_weights = True  # or whoever loads it would take something out of their base model
    config.lora_alpha *= 2**0.5 if config.use_rslora else 2
    config.r *= 2
    return config, state
