"""The base model without its weights: its config from the folder, the hub or what is known of it, and its sizes."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from tuneline.errors import UserError
from tuneline.training.plan.published import PUBLISHED

if TYPE_CHECKING:
    from tuneline.config import ModelConfig

Source = Literal["its config.json", "its published shape"]


@dataclass(frozen=True)
class Architecture:
    """A base model's sizes.

    Attributes:
        config: transformers' configuration.
        source: where it is from.
        parameters: all weights, tied ones once.
        block_linear: weights of the linear layers inside the blocks: what quantization shrinks.
        product: weights that each token is multiplied with: linear layers and head, without the embedding table.
        layers: number of blocks.
        kv_values: keys and values that one token leaves in the KV cache, over all layers.
        attention_width: query heads times their size, over all layers: what attention costs per token and key.
        longest: tokens the model was made for.
    """

    config: PreTrainedConfig
    source: Source
    parameters: int
    block_linear: int
    product: int
    layers: int
    kv_values: int
    attention_width: int
    longest: int


def read_architecture(model: ModelConfig) -> Architecture:
    """Read a base model's configuration and count; no weights are loaded or downloaded.

    Raises:
        UserError: there is no config.json to be had and the model is not among those known.
    """
    config, source = _read(model)
    built = build(config)
    head = built.get_output_embeddings()
    block_linear = sum(m.weight.numel() for m in built.modules() if isinstance(m, nn.Linear) and m is not head)
    text = config.get_text_config()
    head_size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    kv_heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    layers = text.num_hidden_layers
    return Architecture(
        config=config,
        source=source,
        parameters=built.num_parameters(),
        block_linear=block_linear,
        product=block_linear + (head.weight.numel() if head is not None else 0),
        layers=layers,
        kv_values=2 * layers * kv_heads * head_size,
        attention_width=layers * text.num_attention_heads * head_size,
        longest=getattr(text, "max_position_embeddings", 0) or 0,
    )


def build(config: PreTrainedConfig, layers: int | None = None, dtype: torch.dtype = torch.bfloat16) -> PreTrainedModel:
    """Make the model on the meta device, which holds shapes and no numbers; with fewer layers if asked."""
    config = copy.deepcopy(config)
    text = config.get_text_config()
    if layers is not None:
        text.num_hidden_layers = layers
        if getattr(text, "layer_types", None):
            text.layer_types = text.layer_types[:layers]
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")
    model.tie_weights()
    return model


def _read(model: ModelConfig) -> tuple[PreTrainedConfig, Source]:
    try:
        config = AutoConfig.from_pretrained(
            model.base, revision=model.revision, trust_remote_code=model.trust_remote_code
        )
    except (OSError, ValueError) as error:
        known = PUBLISHED.get(model.base)
        if known is None:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"model.base {model.base!r} cannot be planned, its config.json cannot be read: {reason}",
                hint="Give a folder, or a hub id that this machine can reach (HF_TOKEN for gated models); without the "
                f"hub these are known: {', '.join(sorted(PUBLISHED))}.",
            ) from error
        return AutoConfig.for_model(**known), "its published shape"
    return config, "its config.json"
