"""The families of models that the shipped configs train, small: their architecture, their quirks, their chat template.

Widths are small and weights random. What differs between families stays: grouped queries, heads that are wider than
the model, normalised queries, sliding windows, tied embeddings, fused layers, kinds of rotary embedding, end-of-turn
tokens, and templates without a system role.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from tuneline import paths
from tuneline.training.plan.published import PUBLISHED

_LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
_PHI4_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "partial_rotary_factor": 0.75,
    "short_factor": [1.0] * 12,
    "long_factor": [1.0 + place / 4 for place in range(12)],
    "original_max_position_embeddings": 4096,
}
_GEMMA3 = {
    "head_dim": 64,
    "query_pre_attn_scalar": 64,
    "sliding_window": 32,  # shorter than the conversations, as 512 is
    "layer_types": ["sliding_attention", "full_attention"],
}
# By family: what is not in the published shape, tokens (end of turn first), and the template.
_LLAMA2_TEMPLATE = (
    "{% if messages[0].role == 'system' %}{% set system = '<<SYS>>\n' + messages[0].content + '\n<</SYS>>\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}{% for m in messages %}"
    "{% if m.role == 'user' %}{{ bos_token + '[INST] ' + (system if loop.first else '') + m.content + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content + ' ' + eos_token }}{% endif %}{% endfor %}"
)
_MISTRAL_TEMPLATE = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set system = messages[0].content + '\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}{% for m in messages %}"
    "{% if m.role == 'user' %}{{ '[INST] ' + (system if loop.first else '') + m.content + '[/INST]' }}"
    "{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"
)
_LLAMA3_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
_QWEN3_TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.role == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{{ m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_GEMMA3_TEMPLATE = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set system = messages[0].content + '\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}{% for m in messages %}"
    "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' }}"
    "{{ (system if loop.first else '') + m.content + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
_PHI4_TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}"
)
_FAMILIES: dict[str, tuple[dict[str, Any], tuple[str, ...], str]] = {
    "meta-llama/Llama-2-7b-chat-hf": ({}, ("</s>", "<s>"), _LLAMA2_TEMPLATE),
    "meta-llama/Llama-3.1-8B-Instruct": (
        {"rope_parameters": _LLAMA3_ROPE},
        ("<|eot_id|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>"),
        _LLAMA3_TEMPLATE,
    ),
    "mistralai/Mistral-7B-Instruct-v0.3": ({}, ("</s>", "<s>", "[INST]", "[/INST]"), _MISTRAL_TEMPLATE),
    "Qwen/Qwen3": ({"head_dim": 64}, ("<|im_end|>", "<|endoftext|>", "<|im_start|>"), _QWEN3_TEMPLATE),
    "google/gemma-3-1b-it": (_GEMMA3, ("<end_of_turn>", "<bos>", "<start_of_turn>"), _GEMMA3_TEMPLATE),
    "microsoft/Phi-4-mini-instruct": (
        {"rope_parameters": _PHI4_ROPE},
        ("<|endoftext|>", "<|bos|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
        _PHI4_TEMPLATE,
    ),
}


def save_base(name: str, folder: Path) -> Path:
    """Write a small base model of a hub id's family, with its tokenizer, and return the folder."""
    more, tokens, template = _FAMILIES["Qwen/Qwen3" if name.startswith("Qwen/Qwen3-") else name]
    tokenizer = _tokenizer(tokens, template)
    shape = dict(PUBLISHED[name])
    grouped = shape["num_attention_heads"] // shape["num_key_value_heads"]
    shape |= {
        "hidden_size": 128,
        "intermediate_size": 192,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": max(1, 4 // grouped),
        "vocab_size": -(-len(tokenizer) // 64) * 64,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "initializer_range": 0.1,  # differences between answers should not drown in rounding
    }
    shape.pop("head_dim", None)
    torch.manual_seed(0)
    config = AutoConfig.for_model(**shape | more)
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer(tokens: tuple[str, ...], template: str) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(paths.ASSETS / "tiny-base")
    tokenizer.add_special_tokens({"eos_token": tokens[0], "bos_token": tokens[1]})
    tokenizer.add_special_tokens({"additional_special_tokens": list(tokens[2:])})
    tokenizer.chat_template = template
    return tokenizer
