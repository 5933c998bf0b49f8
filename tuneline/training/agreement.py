"""Whether what was written is what was trained: the log-probabilities that both give to the same tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tuneline.errors import TunelineError
from tuneline.training.packing import Sample

if TYPE_CHECKING:
    from tuneline.config import ModelConfig

SAMPLES = 4
TOKENS = 128
# Mean difference, nats per token, about ten times what was measured on random models of two blocks: below 1e-4 in
# float32, 0.004 to 0.009 where weights or (over an int8 base) activations are rounded. A merge that forgets the adapter
# of a short training makes 1 and more.
_EXACT, _ROUNDED = 1e-3, 0.05


@torch.no_grad()
def log_probabilities(model: PreTrainedModel, samples: Sequence[Sample], dtype: str) -> Tensor:
    """Log-probabilities of the first samples' tokens, each given those before it.

    Args:
        model: with or without an adapter; float32 weights compute in ``dtype``, as in training.
        samples: of which the first few are taken, cut to ``TOKENS`` tokens.
        dtype: of the matrix products.

    Returns:
        ``[tokens]``, nats, on the CPU.
    """
    was_training = model.training
    model.eval()
    found = []
    device = next(model.parameters()).device
    with torch.autocast(device.type, dtype=getattr(torch, dtype), enabled=dtype != "float32"):
        for sample in samples[:SAMPLES]:
            ids = torch.tensor([sample.ids[:TOKENS]], device=device)
            logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
            found.append(logits.log_softmax(-1).gather(1, ids[0, 1:, None].to(logits.device))[:, 0].cpu())
    model.train(was_training)
    return torch.cat(found)


def tolerance(model: ModelConfig) -> float:
    """What rounding alone may make, nats per token."""
    return _EXACT if model.dtype == "float32" and model.quantization != "int8" else _ROUNDED


def check_agreement(trained: Tensor, written: Tensor, allowed: float) -> float:
    """Compare what was trained with what was read back from its files.

    Returns:
        Their mean difference, nats per token.

    Raises:
        TunelineError: it is more than ``allowed``.
    """
    difference = float((trained - written).abs().mean())
    if not difference <= allowed:  # NaN is no agreement either
        raise TunelineError(
            f"the merged model gives other answers than the trained one: log-probabilities differ by {difference:.3f} "
            f"nats per token, and rounding makes at most {allowed:g}",
            hint="Nothing was written. Set model.dtype to float32 and try again: if that agrees, the adapter's "
            "update is too fine for this dtype; if not, PEFT cannot merge this model's layers.",
        )
    return difference
