"""Whether another engine answers as transformers, the reference, does."""

from __future__ import annotations

from collections.abc import Sequence

from tuneline.evaluation.report import EngineAgreement


def agreement(chosen: Sequence[str], reference: Sequence[str], least: float) -> EngineAgreement:
    """Count the answers that are the same text.

    Texts and not tokens: in bfloat16 two engines round differently, and now and then the second most likely token wins.
    Such an answer counts as another one here, which is why ``least`` is a share below 1.

    Args:
        chosen: the engine's answers, decoded.
        reference: those of transformers to the same prompts.
        least: share that must be the same.

    Raises:
        ValueError: the numbers of answers differ, or there are none.
    """
    if not reference:
        raise ValueError("no answers to compare")
    same = sum(one == other for one, other in zip(chosen, reference, strict=True))
    return EngineAgreement(items=len(reference), same=same, least=least)
