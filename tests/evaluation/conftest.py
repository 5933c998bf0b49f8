"""A model of a few thousand random weights with its tokenizer, and adapters for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from tuneline.data.records import ChatRecord
from tuneline.data.synthetic import generate_records
from tuneline.pretraining.tokenizer import train_tokenizer
from tuneline.release.files import ADAPTER_FILES, fingerprint

MakeAdapter = Callable[..., tuple[Path, str]]


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerBase:
    return train_tokenizer(400, documents=200, seed=1)


@pytest.fixture
def build_base(tokenizer: PreTrainedTokenizerBase) -> Callable[..., LlamaForCausalLM]:
    """Build the base model; always the same weights, large enough that answers differ between questions."""

    def build(hidden: int = 32, dtype: torch.dtype = torch.float32) -> LlamaForCausalLM:
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=len(tokenizer),  # type: ignore[arg-type]
            hidden_size=hidden,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=128,
            initializer_range=0.3,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
        )
        return LlamaForCausalLM(config).eval().to(dtype)

    return build


@pytest.fixture
def make_adapter(build_base: Callable[..., LlamaForCausalLM], tmp_path: Path) -> MakeAdapter:
    """Write a LoRA adapter with random weights; gives its folder and fingerprint."""

    def make(seed: int, *, zero: bool = False, hidden: int = 32) -> tuple[Path, str]:
        base = build_base(hidden)
        torch.manual_seed(seed)
        config = LoraConfig(r=4, lora_alpha=16, target_modules="all-linear", init_lora_weights=zero)
        folder = tmp_path / f"adapter-{seed}"
        get_peft_model(base, config).save_pretrained(str(folder))
        return folder, fingerprint(folder, ADAPTER_FILES)

    return make


@pytest.fixture
def records() -> list[ChatRecord]:
    return list(generate_records(("git", "helm"), 12, seed=1, split="eval"))
