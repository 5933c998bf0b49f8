"""Whether what was written is what was trained: the log-probabilities that both give to the same tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tuneline.errors import TunelineError
from tuneline.training.packing import Sample

SAMPLES = 4
TOKENS = 128
# Mean difference, nats per token. Rounding the merged weights once makes MEASURED
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.05, "float16": 0.05}


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


def check_agreement(trained: Tensor, written: Tensor, dtype: str) -> float:
    """Compare what was trained with what was read back from its files.

    Returns:
        Their mean difference, nats per token.

    Raises:
        TunelineError: it is more than rounding to ``dtype`` can make.
    """
    difference = float((trained - written).abs().mean())
    if not difference <= TOLERANCE[dtype]:
        raise TunelineError(
            f"the merged model gives other answers than the trained one: log-probabilities differ by {difference:.3f} "
            f"nats per token, and rounding to {dtype} makes at most {TOLERANCE[dtype]:g}",
            hint="Nothing was written. Set model.dtype to float32 and try again: if that agrees, the adapter's "
            "update is too fine for this dtype; if not, PEFT cannot merge this model's layers.",
        )
    return difference
