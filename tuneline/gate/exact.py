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


def hidden_loss(items: int, net_losses: int, margin: float) -> float:
    """How likely so few losses are if every item were really lost with probability ``margin``, nothing being won.

    The lower tail of the binomial distribution. A bootstrap cannot see it: where no loss was drawn, no resample holds
    one, and a guard of 60 questions that truly loses two points shows none of it three times in ten. Nought losses on
    n items rule out a share of about 3/n (Hanley & Lippman-Hand, 1983, "If nothing goes wrong, is everything all
    right?", Journal of the American Medical Association 249:1743-1745).
    """
    if margin <= 0:
        return 1.0
    if margin >= 1:
        return 0.0
    most = max(0, net_losses)
    log_term, total = items * math.log1p(-margin), 0.0
    for count in range(min(most, items) + 1):
        total += math.exp(log_term)
        log_term += math.log((items - count) / (count + 1) * margin / (1 - margin)) if count < items else 0.0
    return min(1.0, total)
