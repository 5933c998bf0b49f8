"""How probable a model finds answers that are given."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from peft import PeftModel
from transformers import PreTrainedModel


@torch.inference_mode()
def reference_nll(
    model: PreTrainedModel | PeftModel,
    prompts: Sequence[Sequence[int]],
    references: Sequence[Sequence[int]],
    batch_size: int,
) -> list[float]:
    """Mean negative log-likelihood of each reference, nats per token; its exponential is the perplexity.

    Args:
        model: with the adapter that is asked switched on.
        prompts: token ids.
        references: token ids of the answers, at least one each.
        batch_size: sequences at once; those of like length share a batch.

    Returns:
        One value per prompt.
    """
    places = sorted(range(len(prompts)), key=lambda place: len(prompts[place]) + len(references[place]))
    found: dict[int, float] = {}
    for begin in range(0, len(places), batch_size):
        batch = places[begin : begin + batch_size]
        sequences = [[*prompts[place], *references[place]] for place in batch]
        width = max(map(len, sequences))
        ids = torch.tensor([sequence + [0] * (width - len(sequence)) for sequence in sequences])
        mask = torch.tensor([[1] * len(sequence) + [0] * (width - len(sequence)) for sequence in sequences])
        ids, mask = ids.to(model.device), mask.to(model.device)
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        for row, place in enumerate(batch):
            start, end = len(prompts[place]), len(sequences[row])
            chosen = logits[row, start - 1 : end - 1].float().log_softmax(-1).gather(-1, ids[row, start:end, None])
            found[place] = -float(chosen.mean())
    return [found[place] for place in range(len(prompts))]
