"""Several targets, one promise: Holm's correction of their p-values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Adjusted:
    """A p-value after the correction.

    Attributes:
        p_value: to be compared with ``1 - gate.confidence``.
        confidence: of the interval that decides alike: it excludes the threshold just if ``p_value`` is small enough.
    """

    p_value: float
    confidence: float


def holm(p_values: Sequence[float], *, confidence: float) -> list[Adjusted]:
    """Adjust the p-values of several hypotheses, so that one false rejection among them is as rare as for one alone.

    Holm (1979, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics
    6:65-70): the smallest of ``m`` is multiplied by ``m``, the next by ``m - 1`` and so on, and none may fall
    below the one before it. The first that is not rejected stops the procedure, so its level is that of all
    behind it.

    Args:
        p_values: of all hypotheses, in any order.
        confidence: of one hypothesis alone, such as 0.95.

    Returns:
        One per p-value, in the order given.
    """
    alpha = 1 - confidence
    adjusted: dict[int, Adjusted] = {}
    highest, is_stopped, level = 0.0, False, alpha
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        if not is_stopped:
            level = alpha / (len(p_values) - rank)
            is_stopped = highest >= alpha
        # The last level is that of one hypothesis: exactly its confidence, not 1 - (1 - confidence).
        adjusted[place] = Adjusted(highest, confidence if level == alpha else 1 - level)
    return [adjusted[place] for place in range(len(p_values))]
