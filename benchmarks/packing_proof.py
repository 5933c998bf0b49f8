"""Whether conversations that share a row see each other: logits and gradients against one by one.

    python -m benchmarks.packing_proof --json packing_proof.json

Small models of each architecture with random weights in float32, four conversations of different lengths. ``blocks`` is
what trains here (``tuneline.training.block_attention``); sdpa, eager and, on a GPU that has it, flash attention 2 (in
bfloat16) take the row with position ids that begin again, as others pack. ``padded`` is a right-padded batch without
any mask, which is what a model gets that cannot keep a row apart. Differences are the largest, in units of the logits'
and of each gradient's standard deviation.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen3Config,
)

from benchmarks.report import write_report
from tuneline.training.block_attention import BlocksUnsupportedError, block_attention
from tuneline.training.layout import lay_out
from tuneline.training.loss import batch_loss
from tuneline.training.packing import Sample, collate

_SHAPE: dict[str, Any] = {
    "vocab_size": 256,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.1,
    "pad_token_id": 0,
}
_WINDOW = 24  # shorter than the conversations, so that it matters
ARCHITECTURES: dict[str, PreTrainedConfig] = {
    "Llama": LlamaConfig(**_SHAPE),
    "Mistral, sliding window": MistralConfig(**_SHAPE, sliding_window=_WINDOW),
    "Qwen3": Qwen3Config(**_SHAPE, head_dim=32),
    "Gemma 3, sliding window": Gemma3TextConfig(**_SHAPE, head_dim=32, sliding_window=_WINDOW),
    "Gemma 2, capped scores": Gemma2Config(**_SHAPE, head_dim=32, sliding_window=_WINDOW),
    "Phi-3": Phi3Config(**_SHAPE),
}
_LENGTHS = (90, 17, 41, 64)
_EXACT = {torch.float32: 1e-4, torch.bfloat16: 0.1}


def conversations() -> list[Sample]:
    """Random ids; half of the tokens are supervised."""
    rng = random.Random(0)
    return [
        Sample([rng.randrange(1, 256) for _ in range(n)], [float(place > n // 2) for place in range(n)])
        for n in _LENGTHS
    ]


def gradients(model: PreTrainedModel, batches: Sequence[dict[str, Any]]) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradients of one optimizer step in these batches."""
    model.zero_grad()
    normaliser = sum(float(batch["loss_weights"][:, 1:].sum()) for batch in batches)
    loss = 0.0
    for batch in batches:
        moved = {name: part.to(model.device) if isinstance(part, Tensor) else part for name, part in batch.items()}
        part = batch_loss(model, moved, normaliser)
        part.backward()  # type: ignore[no-untyped-call]
        loss += float(part.detach())
    return loss, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def logits(model: PreTrainedModel, batch: dict[str, Any]) -> Tensor:
    """``[tokens, vocabulary]`` of all of a batch's tokens."""
    extra = {"blocks": batch["blocks"]} if "blocks" in batch else {}
    ids, positions = batch["input_ids"].to(model.device), batch["position_ids"].to(model.device)
    with torch.no_grad():
        return model(input_ids=ids, position_ids=positions, use_cache=False, **extra).logits.flatten(0, 1).float()


def proof(name: str, backend: str, dtype: torch.dtype, device: str) -> dict[str, Any]:
    """Largest differences of one architecture with one backend."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(ARCHITECTURES[name]).to(device=device, dtype=dtype).eval()
    model.set_attn_implementation("eager")
    samples = conversations()
    alone = [
        collate([sample], lay_out([0], [len(sample.ids)], 1, ragged=False)[0], 0, ragged=False) for sample in samples
    ]
    expected_loss, expected = gradients(model, alone)
    expected_logits = [logits(model, batch) for batch in alone]
    padded = backend == "padded"
    cut = lay_out(range(len(samples)), _LENGTHS, sum(_LENGTHS) * 4, ragged=not padded)
    batches = [collate(samples, micro_batch, 0, ragged=not padded) for micro_batch in cut]
    if backend not in ("blocks", "padded"):
        for batch in batches:
            del batch["blocks"]
    found: dict[str, Any] = {"architecture": name, "backend": backend, "dtype": str(dtype).removeprefix("torch.")}
    if backend not in ("blocks", "padded"):
        model.set_attn_implementation(backend)
    try:
        with block_attention(model) if backend == "blocks" else nullcontext():
            loss, ours = gradients(model, batches)
            packed = {
                index: rows
                for batch, micro_batch in zip(batches, cut, strict=True)
                for index, rows in _apart(logits(model, batch), micro_batch, _LENGTHS)
            }
    except BlocksUnsupportedError as error:
        return found | {"exact": False, "why": str(error), "instead": "grouped by length"}
    by_logits = [float((packed[i] - alone).abs().max() / alone.std()) for i, alone in enumerate(expected_logits)]
    by_gradient = [float((ours[key] - grad).abs().max() / grad.float().std()) for key, grad in expected.items()]
    found |= {"logits": max(by_logits), "gradients": max(by_gradient), "loss": abs(loss - expected_loss)}
    found["exact"] = max(found["logits"], found["gradients"] / 10) < _EXACT[dtype]
    return found if found["exact"] else found | {"instead": "grouped by length"}


def _apart(rows: Tensor, micro_batch: Any, lengths: Sequence[int]) -> list[tuple[int, Tensor]]:
    found, at = [], 0
    for block in micro_batch:
        for index in block.samples:
            found.append((index, rows[at : at + lengths[index]]))
            at += block.width
    return found


def main() -> None:
    """Try all and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    tried: list[tuple[str, torch.dtype, str]] = [
        (b, torch.float32, "cpu") for b in ("blocks", "padded", "sdpa", "eager")
    ]
    if torch.cuda.is_available():
        tried.append(("blocks", torch.bfloat16, "cuda"))
        if find_spec("flash_attn"):
            tried.append(("flash_attention_2", torch.bfloat16, "cuda"))
    rows = []
    for name in ARCHITECTURES:
        for backend, dtype, device in tried:
            rows.append(proof(name, backend, dtype, device))
            print({key: f"{v:.1e}" if isinstance(v, float) else v for key, v in rows[-1].items()}, flush=True)
    write_report(arguments.json, "packing_proof", {"rows": rows})


if __name__ == "__main__":
    main()
