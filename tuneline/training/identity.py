"""An adapter that changes nothing: it stands for a whole model's version in the engine.

Releases, routing and parity know versions as adapters over a base model. A whole model is such a base, and its version
this adapter over it, so nothing of that path needs a second form.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from peft import LoraConfig
from safetensors.torch import save_file
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from tuneline.errors import UserError
from tuneline.release.files import fingerprint

RANK = 1  # every serving.max_lora_rank holds it


def write_identity_adapter(whole: Path, folder: Path, *, trust_remote_code: bool = False) -> None:
    """Write PEFT's two files with B = 0 on one linear layer of every block.

    A is drawn from the whole model's fingerprint, so that two versions' adapters differ in their hash although neither
    does anything: caches and releases tell versions apart by it.

    Args:
        whole: the model's folder.
        folder: gets ``adapter_config.json`` and ``adapter_model.safetensors``.
        trust_remote_code: as for the base model.

    Raises:
        UserError: the model has no blocks with a linear layer.
    """
    config = AutoConfig.from_pretrained(str(whole), trust_remote_code=trust_remote_code)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    layers = _layers(model)
    generator = torch.Generator().manual_seed(int(fingerprint(whole)[:15], 16))
    tensors = {}
    for name, layer in layers.items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = torch.randn(RANK, layer.in_features, generator=generator)
        tensors[f"base_model.model.{name}.lora_B.weight"] = torch.zeros(layer.out_features, RANK)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(folder / "adapter_model.safetensors"), metadata={"format": "pt"})
    target = next(iter(layers)).rpartition(".")[2]
    LoraConfig(
        task_type="CAUSAL_LM", r=RANK, lora_alpha=RANK, target_modules=[target], inference_mode=True
    ).save_pretrained(str(folder))


def _layers(model: nn.Module) -> dict[str, nn.Linear]:
    """The linear layers of one name in all blocks, the name being the first that a block has: mostly ``q_proj``."""
    inside = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and re.search(r"\.\d+\.", name)
    }
    if not inside:
        raise UserError(
            f"{type(model).__name__} has no blocks with linear layers, so the engine could not tell its versions apart",
            hint="Use export: adapter, or another base model.",
        )
    first = next(iter(inside)).rpartition(".")[2]
    return {name: layer for name, layer in inside.items() if name.rpartition(".")[2] == first}
