"""The head on supervised tokens alone gives the loss and the gradients of the whole."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma2Config, LlamaConfig, LlamaForCausalLM

from tuneline.training import head
from tuneline.training.head import bare_head, chunked_loss, without_head
from tuneline.training.loss import batch_loss, supervised, supervised_loss

SHAPE = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}


def _inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    hidden = torch.randn(3, 40, 8, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(50, 8, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(3, 40) * (torch.rand(3, 40) > 0.5)
    return hidden, weight, torch.where(weights > 0, torch.randint(0, 50, (3, 40)), -100), weights


@pytest.mark.parametrize("chunk", [1, 50 * 4 * 7, 2**26])
def test_loss_and_gradients_are_those_of_whole_logits(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "_CHUNK_BYTES", chunk)
    hidden, weight, labels, weights = _inputs()
    whole = supervised_loss(hidden @ weight.T, labels, weights, 7.0)
    expected = torch.autograd.grad(whole * 3, (hidden, weight))
    places = supervised(labels)
    chosen, targets, shares = hidden[:, :-1][places], labels[:, 1:][places], weights[:, 1:][places] / 7.0
    ours = chunked_loss(chosen, weight, targets, shares)
    assert float(ours.detach()) == pytest.approx(float(whole.detach()), rel=1e-6)
    for mine, theirs in zip(torch.autograd.grad(ours * 3, (hidden, weight)), expected, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)


def test_a_batch_without_a_supervised_token_has_no_loss_and_no_gradient() -> None:
    hidden, weight, labels, weights = _inputs()
    loss = chunked_loss(hidden[0, :0], weight, labels[0, :0], weights[0, :0])
    loss.backward()
    assert float(loss) == 0
    assert hidden.grad is not None
    assert float(hidden.grad.abs().sum()) == 0


def test_a_model_without_its_head_has_the_loss_that_it_has_with_it() -> None:
    model = LlamaForCausalLM(LlamaConfig(**SHAPE))
    ids = torch.randint(0, 64, (2, 9))
    weights = torch.ones(2, 9)
    batch = {"input_ids": ids, "position_ids": torch.arange(9).expand(2, -1), "labels": ids, "loss_weights": weights}
    expected = batch_loss(model, batch, 16.0)
    with without_head(model):
        found = batch_loss(model, batch, 16.0, bare_head(model))
    assert float(found) == pytest.approx(float(expected), rel=1e-6)
    assert bare_head(model) is None
    assert model(input_ids=ids).logits.shape[-1] == 64


def test_a_model_that_caps_its_logits_keeps_its_head() -> None:
    model = AutoModelForCausalLM.from_config(Gemma2Config(**SHAPE, head_dim=16))
    with without_head(model):
        assert bare_head(model) is None


class _Scaled(LlamaForCausalLM):  # type: ignore[misc]
    def forward(self, **inputs: Any) -> Any:
        out = super().forward(**inputs)
        out.logits.mul_(0.5)
        return out


def test_a_model_that_scales_its_logits_in_place_keeps_its_head() -> None:
    model = _Scaled(LlamaConfig(**SHAPE))
    with without_head(model):
        assert bare_head(model) is None
