"""What luck alone can do to a handful of changed answers: exact tests, where the bootstrap is too sure of itself.

Three wins and no loss give a bootstrap interval above zero, because no resample can hold a loss. The
exact test knows that one coin in four falls three times on the same side.
"""

from __future__ import annotations

import math


def sign_test(wins: int, losses: int) -> float:
    """Exact two-sided probability of a split at least this uneven if wins and losses were equally likely.

    On scores of 0 and 1 this is the exact McNemar test (McNemar, 1947, "Note on the sampling error of the
    difference between correlated proportions or percentages", Psychometrika 12:153-157): twice the upper
    tail of the binomial distribution with ``wins + losses`` trials of probability one half.
    """
    changed, most = wins + losses, max(wins, losses)
    if changed == 0:
        return 1.0
    # Logarithms, since 2**changed is no float from 1,024 changed answers on.
    log_ways = math.lgamma(changed + 1) - math.lgamma(most + 1) - math.lgamma(changed - most + 1)
    term = math.exp(log_ways - changed * math.log(2))
    tail = 0.0
    for count in range(most, changed + 1):
        tail += term
        term *= (changed - count) / (count + 1)
    return min(1.0, 2 * tail)


def least_luck(changed: int) -> float:
    """The smallest two-sided probability that so many changed answers can have: all of them on one side."""
    return min(1.0, math.ldexp(1.0, 1 - changed))


def changes_beyond_luck(alpha: float) -> int:
    """How many changed answers, all on one side, it takes to be less probable than ``alpha``: 6 for 0.05."""
    return math.floor(1 - math.log2(alpha)) + 1
