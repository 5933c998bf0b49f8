"""Greedy answers in batches, with transformers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Generated:
    """Token ids of one answer, the one that ends it included; ``finished`` unless it was cut at the limit."""

    ids: tuple[int, ...]
    finished: bool


def stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Token ids that end an answer: those of the tokenizer and of the model's generation config, as in the engine."""
    declared = getattr(model.generation_config, "eos_token_id", None)
    own = declared if isinstance(declared, (list, tuple)) else [declared]
    return tuple(sorted({int(token) for token in [tokenizer.eos_token_id, *own] if token is not None}))


@torch.inference_mode()
def generate(
    model: PreTrainedModel | PeftModel,
    prompts: Sequence[Sequence[int]],
    *,
    pad_id: int,
    stop: Sequence[int],
    max_new_tokens: int,
    batch_size: int,
    on_progress: Callable[[int], None] | None = None,
) -> list[Generated]:
    """Answer prompts greedily.

    Prompts of like length share a batch and are padded on the left, so little time goes to padding.
    Greedy is all that is asked for: whatever else the model's own generation config says
    (temperature, penalties) would make answers that differ between runs or from the engine's.

    Args:
        model: in evaluation mode, with the adapter that is asked switched on.
        prompts: token ids of each prompt.
        pad_id: any known token.
        stop: token ids that end an answer.
        max_new_tokens: longest answer, tokens.
        batch_size: prompts answered at once.
        on_progress: told after every batch how many prompts are done.

    Returns:
        An answer per prompt, in the order of the prompts.
    """
    settings = GenerationConfig(
        do_sample=False,
        max_new_tokens=max_new_tokens,
        eos_token_id=list(stop),
        pad_token_id=pad_id,
        use_cache=True,
    )
    # The class that has `generate` is mixed into the models; the base class's type does not show it.
    core: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    answers: dict[int, Generated] = {}
    by_length = sorted(range(len(prompts)), key=lambda place: len(prompts[place]), reverse=True)
    # Handed over as an argument, it would be filled up from the model's own.
    own, core.generation_config = core.generation_config, settings
    try:
        for begin in range(0, len(by_length), batch_size):
            batch = by_length[begin : begin + batch_size]
            width = max(len(prompts[place]) for place in batch)
            ids = torch.full((len(batch), width), pad_id)
            mask = torch.zeros_like(ids)
            for row, place in enumerate(batch):
                prompt = torch.tensor(prompts[place])
                ids[row, width - len(prompt) :] = prompt
                mask[row, width - len(prompt) :] = 1
            out = core.generate(input_ids=ids.to(model.device), attention_mask=mask.to(model.device))
            for place, tokens in zip(batch, out[:, width:].tolist(), strict=True):
                answers[place] = _cut(tokens, stop)
            if on_progress is not None:
                on_progress(len(answers))
    finally:
        core.generation_config = own
    return [answers[place] for place in range(len(prompts))]


def _cut(tokens: list[int], stop: Sequence[int]) -> Generated:
    """Drop the padding behind the token that ends an answer."""
    end = next((place for place, token in enumerate(tokens) if token in stop), None)
    return (
        Generated(tuple(tokens), finished=False) if end is None else Generated(tuple(tokens[: end + 1]), finished=True)
    )
