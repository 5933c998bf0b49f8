"""Gradient checkpointing follows the config, and memory where the config leaves it open."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tuneline.config import TrainingConfig
from tuneline.training.activations import activation_bytes, needs_checkpointing

GIB = 2**30


def test_seven_billion_parameters_at_four_thousand_tokens_take_tens_of_gib() -> None:
    llama = LlamaConfig(hidden_size=4096, intermediate_size=11008, num_hidden_layers=32)
    assert 10 * GIB < activation_bytes(llama, 4096) < 40 * GIB


@pytest.mark.parametrize(("free", "expected"), [(2**20, True), (2**40, False)])
def test_auto_is_on_where_a_gpu_would_not_hold_the_activations(
    free: int, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = LlamaForCausalLM(
        LlamaConfig(vocab_size=8, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    )
    assert not needs_checkpointing(base, TrainingConfig(max_steps=1)) or torch.cuda.is_available()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free, free))
    assert needs_checkpointing(base, TrainingConfig(max_steps=1)) is expected
    assert needs_checkpointing(base, TrainingConfig(max_steps=1, gradient_checkpointing=True))
    assert not needs_checkpointing(base, TrainingConfig(max_steps=1, gradient_checkpointing=False))
