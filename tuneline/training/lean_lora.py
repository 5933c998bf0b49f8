"""LoRA's forward and backward pass with what they need and no more.

PEFT computes ``W x + s B A x`` in five operations of autograd: in float32 for the adapter's part, or with autocast's
copies, and each keeps its input for the backward pass. Here it is one: in the base model's type, with float32 masters
that are cast on the way, keeping ``x`` alone. ``A x`` is computed again when it is needed, which is cheaper than
keeping it. The layers stay PEFT's own: only their ``forward`` is put on and taken off again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable


class _Adapted(torch.autograd.Function):
    """``x W' + b + s (x A') B'`` for frozen ``W`` and ``b``."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float
    ) -> Tensor:
        flat, low_a, low_b = x.flatten(0, -2), a.to(x.dtype), b.to(x.dtype)
        out = nn.functional.linear(flat, weight, bias)
        out.addmm_(flat @ low_a.T, low_b.T, alpha=scale)
        ctx.save_for_backward(x, weight, low_a, low_b)
        ctx.scale = scale  # type: ignore[attr-defined]
        ctx.kept = (a.dtype, b.dtype)  # type: ignore[attr-defined]
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, low_a, low_b = ctx.saved_tensors
        flat, flat_grad = x.flatten(0, -2), grad.flatten(0, -2)
        inner = (flat_grad @ low_b).mul_(ctx.scale)  # [tokens, r]
        grad_b = torch.mul(flat_grad.T @ (flat @ low_a.T), ctx.scale).to(ctx.kept[1])
        grad_a = (inner.T @ flat).to(ctx.kept[0])
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = flat_grad @ weight
            grad_x.addmm_(inner, low_a)
            grad_x = grad_x.unflatten(0, x.shape[:-1])
        return grad_x, None, None, grad_a, grad_b, None


def is_plain(layer: nn.Module) -> bool:
    """Whether a layer is LoRA on an ordinary frozen linear layer: no DoRA, quantization, dropout or bias."""
    return type(layer) is LoraLinear and _has_one_plain_adapter(layer)


def _has_one_plain_adapter(layer: Any) -> bool:
    if type(layer.base_layer) is not nn.Linear or len(layer.active_adapters) != 1:
        return False
    name = layer.active_adapters[0]
    return bool(
        name in layer.lora_A
        and name not in layer.lora_variant
        and layer.lora_A[name].bias is None
        and layer.lora_B[name].bias is None
        and getattr(layer.lora_dropout[name], "p", 0.0) == 0.0
        and not layer.fan_in_fan_out
        and not any(p.requires_grad for p in layer.base_layer.parameters())
    )


def all_lean(model: nn.Module) -> bool:
    """Whether every LoRA layer of the model is plain, so that nothing is left that would need autocast."""
    layers = [layer for layer in model.modules() if hasattr(layer, "lora_A")]
    return bool(layers) and all(map(is_plain, layers))


@contextmanager
def lean_lora(model: nn.Module) -> Iterator[None]:
    """Compute the plain LoRA layers in one operation each. Weights, names and what is saved stay as they are."""
    layers: list[Any] = [layer for layer in model.modules() if is_plain(layer)]
    for layer in layers:
        layer.forward = partial(_forward, layer, layer.forward)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward  # the class's own is seen again


def _forward(layer: Any, peft: Callable[..., Tensor], x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    if layer.disable_adapters or layer.merged or kwargs.get("adapter_names") is not None:
        return peft(x, *args, **kwargs)
    name, base = layer.active_adapters[0], layer.base_layer
    with torch.autocast(x.device.type, enabled=False):
        adapted: Tensor = _Adapted.apply(  # type: ignore[no-untyped-call]
            x.to(base.weight.dtype),
            base.weight,
            base.bias,
            layer.lora_A[name].weight,
            layer.lora_B[name].weight,
            layer.scaling[name],
        )
    return adapted
