"""Rows of one batch answered by different LoRA adapters over one base model, so that its matrix products are shared.

PEFT can do this too (``adapter_names``), with hooks set and removed around every forward pass and rows gathered by
lists of indices: on the tiny base model that is a third of a decoding step. Here rows of one adapter lie next to each
other, so each layer adds to a slice, and nothing is set up per step.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from peft import PeftModel
from peft.tuners.lora import LoraLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import Tensor
from torch.nn.functional import linear

from tuneline.errors import TunelineError


@dataclass
class Rows:
    """Which rows of the batch are whose: adapter (None: the base model), first row, and the row after the last."""

    spans: list[tuple[str | None, int, int]] = field(default_factory=list)

    def assign(self, adapters: Sequence[str | None]) -> None:
        """Say which adapter each row has; rows of one adapter must be neighbours."""
        self.spans = []
        for row, name in enumerate(adapters):
            if self.spans and self.spans[-1][0] == name:
                self.spans[-1] = (name, self.spans[-1][1], row + 1)
            else:
                self.spans.append((name, row, row + 1))


@contextmanager
def mixed_adapters(model: Any, adapters: Collection[str]) -> Iterator[Rows]:
    """Let each row of a batch have its own adapter while the block runs.

    Args:
        model: with any number of adapters, or a plain model without.
        adapters: names of those that rows will have.

    Yields:
        To be told before each forward pass which rows are whose.

    Raises:
        TunelineError: an adapter is not loaded, or of a kind that neither this nor the engine can serve (DoRA, whole
            modules trained along).
    """
    rows = Rows()
    known = set(model.peft_config) if isinstance(model, PeftModel) else set()
    if missing := sorted(set(adapters) - known):
        raise TunelineError(f"The adapter {missing[0]!r} is not loaded, so nobody can answer for it.")
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    others = any(isinstance(module, AuxiliaryTrainingWrapper) for module in model.modules())
    if others or not all(_is_plain(layer) for layer in layers):
        raise TunelineError(
            "An adapter is more than LoRA over linear layers (DoRA, modules_to_save, embeddings): it cannot be served.",
            hint="Train with use_dora and modules_to_save left out, or with export: merged.",
        )
    try:
        for layer in layers:
            layer.forward = _forward(layer, rows)
        yield rows
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)


def _is_plain(layer: Any) -> bool:
    return not (layer.lora_variant or layer.merged or layer.lora_embedding_A) and hasattr(layer.base_layer, "weight")


def _forward(layer: Any, rows: Rows) -> Callable[..., Tensor]:
    base = layer.base_layer
    weights = {
        name: (
            layer.lora_A[name].weight,
            layer.lora_B[name].weight,
            layer.lora_B[name].bias,
            float(layer.scaling[name]),
        )
        for name in layer.lora_A
    }

    def forward(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        out: Tensor = base(x, *args, **kwargs)
        for name, first, last in rows.spans:
            if name in weights:
                down, up, bias, scaling = weights[name]
                out[first:last] += linear(linear(x[first:last].to(down.dtype), down), up, bias).mul_(scaling)
        return out

    return forward
