"""What so many questions can show, and how many it would take: the normal approximations for planning."""

from __future__ import annotations

import math
from statistics import NormalDist

_MOST_ITEMS = 1_000_000  # more than that nobody asks: the difference is the threshold, as far as one can tell


def detectable_difference(standard_error: float, *, confidence: float, power: float) -> float:
    """The smallest distance from the threshold that is proven with probability ``power``.

    ``(z_{1-alpha/2} + z_power) * SE``: Chow, Shao & Wang, "Sample Size Calculations in Clinical Research",
    chapter 3; on language models Card et al., 2020, "With Little Power Comes Great Responsibility",
    https://aclanthology.org/2020.emnlp-main.745.

    Args:
        standard_error: of the mean difference, in units of the metric.
        confidence: of the two-sided interval, ``1 - alpha``.
        power: such as 0.8.

    Returns:
        In units of the metric.
    """
    normal = NormalDist()
    return (normal.inv_cdf((1 + confidence) / 2) + normal.inv_cdf(power)) * standard_error


def items_to_settle(
    items: int, distance: float, standard_error: float, *, confidence: float, power: float
) -> int | None:
    """How many items would prove a difference on the side of the threshold where it lies now.

    The same formula solved for n: the standard error falls with the root of the number of items, so
    ``n * ((z_{1-alpha/2} + z_power) * SE / distance)**2`` of them make ``distance`` detectable.

    Args:
        items: asked so far.
        distance: difference minus threshold, in units of the metric.
        standard_error: with ``items`` items, in the same units.
        confidence: of the two-sided interval.
        power: with which it should be proven.

    Returns:
        At least one more than ``items``; None if it would take more than a million.
    """
    reach = detectable_difference(standard_error, confidence=confidence, power=power)
    if reach >= abs(distance) * math.sqrt(_MOST_ITEMS / items):
        return None
    return max(items + 1, math.ceil(items * (reach / distance) ** 2))
