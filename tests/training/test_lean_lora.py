"""LoRA in one operation is PEFT's LoRA: the same outputs and gradients, and nothing left behind."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from tuneline.training.lean_lora import all_lean, is_plain, lean_lora

IDS = torch.arange(24).reshape(2, 12) % 60


def _model(dtype: torch.dtype = torch.float64, **options: Any) -> PeftModel:
    torch.manual_seed(0)
    base = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
            attention_bias=True,
        )
    )  # fmt: skip
    config = LoraConfig(r=4, lora_alpha=12, target_modules="all-linear", task_type="CAUSAL_LM", **options)
    model = get_peft_model(base.to(dtype), config, autocast_adapter_dtype=dtype != torch.float64)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return model


def _gradients(model: PeftModel) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.zero_grad()
    logits = model(input_ids=IDS, use_cache=False).logits
    torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), IDS.flatten()).backward()
    return logits.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("use_rslora", [False, True])
def test_outputs_and_gradients_are_those_of_peft(use_rslora: bool) -> None:
    model = _model(use_rslora=use_rslora)
    assert all_lean(model)
    logits, gradients = _gradients(model)
    with lean_lora(model):
        lean_logits, lean_gradients = _gradients(model)
    assert torch.allclose(lean_logits, logits, atol=1e-10)
    assert lean_gradients.keys() == gradients.keys()
    assert all(torch.allclose(lean_gradients[name], gradients[name], atol=1e-10) for name in gradients)


def test_masters_stay_float32_over_a_bfloat16_base() -> None:
    model = _model(torch.bfloat16)
    _, gradients = _gradients(model)
    with lean_lora(model):
        logits, lean_gradients = _gradients(model)
    assert logits.dtype == torch.bfloat16
    for name, gradient in lean_gradients.items():
        assert gradient.dtype == torch.float32
        assert (gradient - gradients[name]).norm() < 0.1 * gradients[name].norm()


def test_it_is_taken_off_again_and_saves_what_peft_saves() -> None:
    model = _model()
    names = list(model.state_dict())
    with lean_lora(model):
        assert list(model.state_dict()) == names
    assert not any("forward" in module.__dict__ for module in model.modules())


def test_an_adapter_that_is_switched_off_changes_nothing() -> None:
    model = _model()
    with model.disable_adapter():
        expected = model(input_ids=IDS).logits
    with lean_lora(model), model.disable_adapter():
        assert torch.equal(model(input_ids=IDS).logits, expected)


@pytest.mark.parametrize("options", [{"use_dora": True}, {"lora_dropout": 0.1}])
def test_what_is_more_than_lora_stays_pefts(options: dict[str, Any]) -> None:
    model = _model(**options)
    assert not any(is_plain(module) for module in model.modules())
    assert not all_lean(model)
