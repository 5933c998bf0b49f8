"""Looking at a model leaves it as it was, quantized or not."""

from __future__ import annotations

import torch
from bitsandbytes.nn import Linear4bit

from tuneline.training.trial import without_dropout


def test_a_four_bit_layer_still_has_its_gradient_after_a_look() -> None:
    torch.manual_seed(0)
    layer = Linear4bit(128, 128, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4").to("cpu")
    x = torch.randn(4, 128, dtype=torch.bfloat16, requires_grad=True)

    def gradient() -> torch.Tensor:
        return torch.autograd.grad(layer(x).float().sum(), x)[0]

    before = gradient()
    with without_dropout(layer), torch.no_grad():
        layer(x.detach())
    assert layer.training
    assert torch.equal(gradient(), before)


def test_dropout_is_off_meanwhile_and_on_again_after() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Dropout(0.5)).train()
    x = torch.ones(2, 8)
    with without_dropout(model):
        assert torch.equal(model(x), model[0](x))
    assert all(module.training for module in model.modules())
