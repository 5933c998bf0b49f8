"""How sure a mean difference is: the paired bootstrap.

Both models answered the same items, so each item gives one difference, and items that are hard for
both say nothing either way. Resampling these differences (Koehn, 2004, "Statistical Significance
Tests for Machine Translation Evaluation", https://aclanthology.org/W04-3250) gives an interval for
their mean without assuming how scores are distributed. Items of one source are alike; where that
matters, whole sources are resampled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

_NORMAL = NormalDist()
_DRAWS_AT_ONCE = 4_000_000  # 32 MB of indices
_FEW_KINDS = 64  # up to here, counting kinds is faster than drawing units one by one
# Sums of scores like 0.1 differ in their last bits by their order; so rounded, equal means are equal.
DECIMALS = 12


@dataclass(frozen=True)
class Interval:
    """From ``low`` to ``high``, in units of the metric."""

    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """A mean difference and what resampling says of it.

    Attributes:
        difference: the mean over the items.
        means: of the resamples, in ascending order.
        units: how many items or sources were resampled.
        bias: ``z0``, the normal quantile of the share of ``means`` below ``difference``.
        acceleration: ``a``, the jackknife's skewness divided by 6.
    """

    difference: float
    means: NDArray[np.float64]
    units: int
    bias: float
    acceleration: float

    @property
    def standard_error(self) -> float:
        """Of the mean difference, in units of the metric."""
        return float(self.means.std(ddof=1))

    def percentile(self, confidence: float) -> Interval:
        """The plain two-sided interval, for comparison."""
        tail = (1 - confidence) / 2
        return self._between(tail, 1 - tail)

    def bca(self, confidence: float) -> Interval:
        """The bias-corrected and accelerated two-sided interval; the one that decides.

        Efron (1987, "Better Bootstrap Confidence Intervals", Journal of the American Statistical Association
        82:171-185) moves the percentile interval's ends for the bias and the skewness of the resampled means:
        the end at level ``alpha`` lies at ``Phi(z0 + (z0 + z_alpha) / (1 - a * (z0 + z_alpha)))``.
        """
        tail = (1 - confidence) / 2
        low, high = (
            _NORMAL.cdf(self.bias + _accelerated(self.bias + _NORMAL.inv_cdf(level), self.acceleration))
            for level in (tail, 1 - tail)
        )
        return self._between(low, high)

    def p_value(self, threshold: float) -> float:
        """Two-sided p-value of the difference against a threshold: the BCa interval turned round.

        It is the ``alpha`` at which an end of the interval with confidence ``1 - alpha`` reaches the threshold
        (Efron & Tibshirani, 1993, "An Introduction to the Bootstrap", section 15.4, "Relationship of hypothesis
        tests to confidence intervals"): with ``G`` the share of means up to the threshold and
        ``w = Phi^-1(G) - z0``, the one-sided value is ``Phi(w / (1 + a * w) - z0)``. Means that equal the
        threshold count against the candidate on one side and for it on the other, as the ends do.
        """
        last = len(self.means) - 1
        upto = int(np.searchsorted(self.means, threshold, side="right"))
        below = int(np.searchsorted(self.means, threshold, side="left"))
        better = self._one_sided(upto / last)
        worse = 1 - self._one_sided((below - 1) / last)
        return min(1.0, 2 * min(better, worse))

    def _one_sided(self, share: float) -> float:
        moved = _quantile(share, len(self.means)) - self.bias
        return _NORMAL.cdf(_accelerated(moved, -self.acceleration) - self.bias)

    def _between(self, low: float, high: float) -> Interval:
        # Outwards to a resampled mean, without interpolation: a threshold lies outside the interval just if the
        # p-value says so, even where many means are equal.
        last = len(self.means) - 1
        return Interval(float(self.means[math.floor(low * last)]), float(self.means[math.ceil(high * last)]))


def paired_bootstrap(
    differences: NDArray[np.float64], *, resamples: int, seed: int, groups: NDArray[np.int64] | None = None
) -> Bootstrap:
    """Resample the mean of paired differences.

    With groups these are drawn whole (the cluster bootstrap; Cameron, Gelbach & Miller, 2008, "Bootstrap-Based
    Improvements for Inference with Clustered Errors", Review of Economics and Statistics 90:414-427), a mean is
    the drawn differences' sum over their number, and the acceleration leaves out one group at a time (the
    jackknife of Efron & Tibshirani, 1993, equation 14.15) instead of one item.

    Args:
        differences: candidate minus opponent, one per item, all of them finite.
        resamples: how many times to resample.
        seed: the same seed gives the same means.
        groups: of each item the number of its group, from 0 without gaps; None if each item stands for itself.

    Raises:
        ValueError: there are fewer than two items or groups, or a difference is no number.
    """
    if groups is None:
        groups = np.arange(len(differences), dtype=np.int64)
    sums = np.bincount(groups, weights=differences).astype(np.float64)
    sizes = np.bincount(groups).astype(np.float64)
    if len(sums) < 2 or not np.isfinite(differences).all():
        raise ValueError(f"the bootstrap needs at least two finite differences, not {differences.tolist()[:5]}")
    observed = round(float(differences.mean()), DECIMALS)
    means = np.sort(np.round(_resampled_means(sums, sizes, resamples, np.random.default_rng(seed)), DECIMALS))
    # Scores of 0 and 1 give many equal means: those that equal the observed one count half.
    below = (np.searchsorted(means, observed, side="left") + np.searchsorted(means, observed, side="right")) / 2
    return Bootstrap(
        difference=observed,
        means=means,
        units=len(sums),
        bias=_quantile(float(below) / resamples, resamples),
        acceleration=_jackknife_acceleration(sums, sizes),
    )


def _resampled_means(
    sums: NDArray[np.float64], sizes: NDArray[np.float64], resamples: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    count = len(sums)
    kinds, counts = np.unique(np.column_stack([sums, sizes]), axis=0, return_counts=True)
    is_few = len(kinds) <= _FEW_KINDS
    rows = max(1, _DRAWS_AT_ONCE // (len(kinds) if is_few else count))
    parts = []
    for begin in range(0, resamples, rows):
        now = min(rows, resamples - begin)
        if is_few:
            # How often each kind of unit is drawn is multinomial: the same distribution without drawing each unit.
            drawn = generator.multinomial(count, counts / count, size=now) @ kinds
            parts.append(drawn[:, 0] / drawn[:, 1])
        else:
            places = generator.integers(0, count, size=(now, count))
            parts.append(sums[places].sum(axis=1) / sizes[places].sum(axis=1))
    return np.concatenate(parts)


def _jackknife_acceleration(sums: NDArray[np.float64], sizes: NDArray[np.float64]) -> float:
    without = (sums.sum() - sums) / (sizes.sum() - sizes)
    deviations = without.mean() - without
    spread = float((deviations**2).sum())
    # Equal differences leave nothing but the rounding of their sum.
    return float((deviations**3).sum()) / (6 * spread**1.5) if spread > 10.0 ** (-2 * DECIMALS) else 0.0


def _accelerated(z: float, acceleration: float) -> float:
    """``z / (1 - a * z)``; beyond its pole there is nothing farther out."""
    divisor = 1 - acceleration * z
    return z / divisor if divisor > 0 else math.copysign(math.inf, z)


def _quantile(share: float, resamples: int) -> float:
    """Of a share of the resamples; 0 and 1 are as far out as half a resample."""
    edge = 0.5 / resamples
    return _NORMAL.inv_cdf(min(max(share, edge), 1 - edge))
