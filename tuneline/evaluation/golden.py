"""Golden log-probabilities: what the evaluated model gives to the tokens of an answer, token by token.

The served adapter has to give the same before it gets traffic (``tuneline.release.parity``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from tuneline.errors import TunelineError


@torch.inference_mode()
def token_logprobs(
    model: PreTrainedModel | PeftModel, prompt_ids: Sequence[int], completion_ids: Sequence[int]
) -> list[float]:
    """Log-probability of each completion token, given all tokens before it (teacher forcing).

    One sequence at a time and without padding, so that nothing but the model decides the numbers.
    Logits are turned into probabilities in float32, as the engine does.

    Args:
        model: with the adapter that is asked switched on.
        prompt_ids: at least one token.
        completion_ids: at least one token.

    Returns:
        Natural logarithms, one per completion token.

    Raises:
        TunelineError: the model gave a number that is none.
    """
    if not prompt_ids or not completion_ids:
        raise ValueError(
            f"{len(prompt_ids)} prompt and {len(completion_ids)} completion tokens: both need at least one"
        )
    ids = torch.tensor([[*prompt_ids, *completion_ids]], device=model.device)
    # The last token predicts nothing, hence one more logit than completion tokens and the last one dropped.
    logits = model(input_ids=ids, use_cache=False, logits_to_keep=len(completion_ids) + 1).logits[0, :-1].float()
    targets = ids[0, len(prompt_ids) :]
    values: list[float] = logits.log_softmax(-1).gather(-1, targets[:, None])[:, 0].tolist()
    if not all(math.isfinite(value) for value in values):
        raise TunelineError(
            "The model gave log-probabilities that are no numbers: its weights or the adapter are broken."
        )
    return values


def largest_difference(a: Sequence[float], b: Sequence[float]) -> float:
    """Largest absolute difference between two equally long lists.

    Raises:
        ValueError: they differ in length or are empty.
    """
    return max(abs(left - right) for left, right in zip(a, b, strict=True))
