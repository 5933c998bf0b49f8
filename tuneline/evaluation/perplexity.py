"""How well a model would have expected the right answers: negative log-likelihood, whose exponential is perplexity."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from tuneline.errors import TunelineError
from tuneline.evaluation.engines.padding import left_padded


@torch.inference_mode()
def reference_nll(
    model: PreTrainedModel | PeftModel,
    prompts: Sequence[Sequence[int]],
    references: Sequence[Sequence[int]],
    batch_size: int,
) -> list[float]:
    """Mean negative log-likelihood of each reference answer after its prompt, nats per token.

    Args:
        model: with the adapter that is asked switched on.
        prompts: token ids, at least one each.
        references: token ids of the right answers, at least one each.
        batch_size: items at once; those of like length share a batch.

    Returns:
        A number per item, in their order.

    Raises:
        ValueError: a prompt or a reference is empty.
        TunelineError: the model gave a number that is none.
    """
    if not all(prompts) or not all(references):
        raise ValueError("a prompt or a reference answer has no token")
    pairs = list(zip(prompts, references, strict=True))
    by_length = sorted(range(len(pairs)), key=lambda place: len(pairs[place][0]) + len(pairs[place][1]), reverse=True)
    values: dict[int, float] = {}
    for begin in range(0, len(pairs), batch_size):
        places = by_length[begin : begin + batch_size]
        sequences = [[*pairs[place][0], *pairs[place][1]] for place in places]
        ids, mask, positions = left_padded(sequences, 0, model.device)
        # All rows end together, so the logits of the longest reference's place are enough for all.
        longest = max(len(pairs[place][1]) for place in places)
        logits = model(
            input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False, logits_to_keep=longest + 1
        ).logits
        for row, place in enumerate(places):
            own = len(pairs[place][1])
            scores = logits[row, -own - 1 : -1].float()
            values[place] = float(torch.nn.functional.cross_entropy(scores, ids[row, -own:]))
    if not all(math.isfinite(value) for value in values.values()):
        raise TunelineError("The model gave a likelihood that is no number: its weights or the adapter are broken.")
    return [values[place] for place in range(len(pairs))]
