"""Merging: what was trained becomes weights of a whole model that anything loads without PEFT.

Every weight is taken as training saw it. Over a quantized base that is the rounded weight, written out in
``model.dtype``: the adapter learnt beside those, and beside the original weights it would be off by what the rounding
lost. The file then is as large as an unquantized model's.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from peft.utils.other import ModulesToSaveWrapper
from torch import Tensor, nn
from transformers import PreTrainedModel

from tuneline.errors import UserError
from tuneline.training.quantized import weight_of

ADAPTER = "default"


@torch.no_grad()
def write_merged(trained: PreTrainedModel | PeftModel, folder: Path, dtype: str) -> None:
    """Write config.json, generation_config.json and safetensors. The trained model stays as it is.

    The merged weights are gathered in the machine's memory, in ``dtype``: 14.5 GB for a model of 7 billion.

    Args:
        trained: a model whose every weight was trained, or one with a LoRA adapter named ``default``.
        folder: is made.
        dtype: of the weights written; the sums are made in float32 and rounded once.

    Raises:
        UserError: the base model is a checkpoint that was quantized by somebody else.
    """
    plain = trained.get_base_model() if isinstance(trained, PeftModel) else trained
    kind = getattr(torch, dtype)
    config = copy.deepcopy(plain.config)
    quantized = getattr(config, "quantization_config", None)
    if quantized is not None:
        known = quantized if isinstance(quantized, dict) else quantized.to_dict()
        method = str(getattr(known["quant_method"], "value", known["quant_method"]))
        if method != "bitsandbytes":
            raise UserError(
                f"the base model's weights come quantized ({method}), so nothing can be merged into them",
                hint="Use export: adapter, or the unquantized model as model.base.",
            )
        del config.quantization_config
    config.dtype = kind
    config.use_cache = True  # switched off while training
    config.name_or_path = ""  # no path of the training machine travels with a model
    with torch.device("meta"):
        whole: PreTrainedModel = type(plain)(config)
    weights = {name: tensor.to(kind) if tensor.is_floating_point() else tensor for name, tensor in _weights(plain)}
    if config.tie_word_embeddings and not _still_tied(whole, weights):
        # Trained apart, although the base model has one matrix for both: from here on there are two.
        config.tie_word_embeddings = False
        with torch.device("meta"):
            whole = type(plain)(config)
    whole.load_state_dict(weights, strict=True, assign=True)
    whole.tie_weights()
    whole.generation_config = plain.generation_config
    whole.save_pretrained(str(folder))


def merged_weight(layer: LoraLayer) -> Tensor:
    """One layer's weight with its adapter in it, float32, in the form of the base layer's own weight."""
    own = weight_of(layer.get_base_layer()).float()
    if ADAPTER in layer.lora_variant:  # DoRA
        merged: Tensor = layer.lora_variant[ADAPTER].merge_safe(layer, ADAPTER, own)
    else:
        merged = own + layer.get_delta_weight(ADAPTER).float().to(own.device)
    return merged


def _weights(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Names and values as the plain model has them, on the CPU, layer by layer."""
    if isinstance(module, ModulesToSaveWrapper):
        yield from _weights(module.modules_to_save[ADAPTER], prefix)
        return
    if isinstance(module, LoraLayer):
        yield f"{prefix}weight", merged_weight(module).cpu()
        bias = getattr(module.get_base_layer(), "bias", None)
        if bias is not None:
            yield f"{prefix}bias", bias.detach().cpu()
        return
    for name, parameter in module.named_parameters(recurse=False):
        # Quantized layers without an adapter have a weight that is no matrix yet.
        yield f"{prefix}{name}", (weight_of(module) if name == "weight" else parameter).detach().cpu()
    for name, buffer in module.named_buffers(recurse=False):
        if name not in module._non_persistent_buffers_set:
            yield f"{prefix}{name}", buffer.cpu()
    for name, child in module.named_children():
        yield from _weights(child, f"{prefix}{name}.")


def _still_tied(whole: PreTrainedModel, weights: dict[str, Tensor]) -> bool:
    names = {id(module): name for name, module in whole.named_modules()}
    into, out = whole.get_input_embeddings(), whole.get_output_embeddings()
    if out is None:
        return True
    return torch.equal(weights[f"{names[id(into)]}.weight"], weights[f"{names[id(out)]}.weight"])
