"""Base models of two random layers, made on the fly."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from tuneline import paths


def make_random_base(folder: Path) -> Path:
    """A Llama of 0.2 million parameters with the tiny base model's tokenizer, in a folder."""
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    LlamaForCausalLM(LlamaConfig(**shape, vocab_size=1024)).to(torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(paths.ASSETS / "tiny-base").save_pretrained(folder)
    return folder
