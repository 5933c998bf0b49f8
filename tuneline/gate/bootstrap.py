"""How sure a mean difference is: the paired bootstrap.

Both models answered the same items, so each item gives one difference, and items that are hard for
both say nothing either way. Resampling these differences (Koehn, 2004, "Statistical Significance
Tests for Machine Translation Evaluation", https://aclanthology.org/W04-3250) gives an interval for
their mean without assuming how scores are distributed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

_NORMAL = NormalDist()
_DRAWS_AT_ONCE = 4_000_000  # 32 MB of indices


@dataclass(frozen=True)
class Interval:
    """From ``low`` to ``high``, in units of the metric."""

    low: float
    high: float


@dataclass(frozen=True)
class PairedBootstrap:
    """A mean difference and what is known about it.

    Attributes:
        difference: the mean over the items.
        bca: bias-corrected and accelerated interval; the one that decides.
        percentile: the plain interval, for comparison.
    """

    difference: float
    bca: Interval
    percentile: Interval


def paired_bootstrap(
    differences: NDArray[np.float64], *, confidence: float, resamples: int, seed: int
) -> PairedBootstrap:
    """Estimate the mean of paired differences with two-sided intervals.

    The BCa interval (Efron, 1987, "Better Bootstrap Confidence Intervals", Journal of the American
    Statistical Association 82:171-185) moves the percentile interval's ends for the bias and the
    skewness of the resampled means: with ``z0`` the normal quantile of the share of them below the
    observed mean, and ``a`` the jackknife's skewness divided by 6, the end at level ``alpha`` lies at

        Phi(z0 + (z0 + z_alpha) / (1 - a * (z0 + z_alpha))).

    Args:
        differences: candidate minus opponent, one per item, at least two and all of them finite.
        confidence: of the intervals, such as 0.95.
        resamples: how many times to resample.
        seed: the same seed gives the same intervals.

    Raises:
        ValueError: there are fewer than two differences, or one of them is no number.
    """
    count = len(differences)
    if count < 2 or not np.isfinite(differences).all():
        raise ValueError(f"the bootstrap needs at least two finite differences, not {differences.tolist()[:5]}")
    mean = float(differences.mean())
    means = _resampled_means(differences, resamples, np.random.default_rng(seed))
    tail = (1 - confidence) / 2
    levels = [tail, 1 - tail]
    return PairedBootstrap(
        difference=mean,
        bca=_interval(means, [_bca_level(level, means, differences) for level in levels]),
        percentile=_interval(means, levels),
    )


def _resampled_means(
    values: NDArray[np.float64], resamples: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    count = len(values)
    rows = max(1, _DRAWS_AT_ONCE // count)
    parts = [
        values[generator.integers(0, count, size=(min(rows, resamples - begin), count))].mean(axis=1)
        for begin in range(0, resamples, rows)
    ]
    return np.concatenate(parts)


def _bca_level(level: float, means: NDArray[np.float64], differences: NDArray[np.float64]) -> float:
    observed = differences.mean()
    # Scores of 0 and 1 give many equal means: those that equal the observed one count half.
    below = float((means < observed).mean() + (means == observed).mean() / 2)
    edge = 0.5 / len(means)
    bias = _NORMAL.inv_cdf(min(max(below, edge), 1 - edge))
    deviations = differences - observed
    spread = float((deviations**2).sum())
    acceleration = float((deviations**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0
    shifted = bias + _NORMAL.inv_cdf(level)
    return _NORMAL.cdf(bias + shifted / (1 - acceleration * shifted))


def _interval(means: NDArray[np.float64], levels: list[float]) -> Interval:
    low, high = np.quantile(means, levels)
    return Interval(float(low), float(high))


def sign_test(wins: int, losses: int) -> float:
    """Exact two-sided probability of a split at least this uneven if wins and losses were equally likely.

    On scores of 0 and 1 this is the exact McNemar test (McNemar, 1947, "Note on the sampling error of the
    difference between correlated proportions or percentages", Psychometrika 12:153-157).
    """
    changed = wins + losses
    at_least = sum(math.comb(changed, k) for k in range(max(wins, losses), changed + 1))
    return min(1.0, 2 * at_least / 2**changed) if changed else 1.0
