"""The intervals are SciPy's, the exact test is SciPy's, and a seed repeats them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from tuneline.gate.bootstrap import paired_bootstrap, sign_test


def _scores_of_0_and_1(rng: np.random.Generator) -> NDArray[np.float64]:
    return (rng.random(200) < 0.6).astype(float) - (rng.random(200) < 0.5).astype(float)


def _skewed(rng: np.random.Generator) -> NDArray[np.float64]:
    return rng.lognormal(0, 1.2, 60) - 1


def _few(rng: np.random.Generator) -> NDArray[np.float64]:
    return rng.normal(0.1, 0.3, 12)


@pytest.mark.parametrize("draw", [_scores_of_0_and_1, _skewed, _few])
def test_intervals_agree_with_scipys(draw: Callable[[np.random.Generator], NDArray[np.float64]]) -> None:
    stats = pytest.importorskip("scipy.stats", reason="a development requirement")
    values = draw(np.random.default_rng(7))
    ours = paired_bootstrap(values, confidence=0.95, resamples=20_000, seed=1)
    for method, interval in (("percentile", ours.percentile), ("BCa", ours.bca)):
        theirs = stats.bootstrap(
            (values,), np.mean, n_resamples=20_000, confidence_level=0.95, method=method, rng=np.random.default_rng(2)
        ).confidence_interval
        # Two runs of 20,000 resamples differ by chance; a hundredth of the width would be a lot for an end.
        allowed = 0.03 * (theirs.high - theirs.low)
        assert interval.low == pytest.approx(theirs.low, abs=allowed)
        assert interval.high == pytest.approx(theirs.high, abs=allowed)
    assert ours.difference == pytest.approx(values.mean())


def test_the_bca_interval_leans_to_the_side_of_the_long_tail() -> None:
    ours = paired_bootstrap(_skewed(np.random.default_rng(7)), confidence=0.95, resamples=20_000, seed=1)
    assert ours.bca.low > ours.percentile.low
    assert ours.bca.high > ours.percentile.high


def test_a_seed_repeats_the_interval_and_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    values = _few(np.random.default_rng(7))
    first = paired_bootstrap(values, confidence=0.9, resamples=5_000, seed=3)
    assert paired_bootstrap(values, confidence=0.9, resamples=5_000, seed=3) == first
    assert paired_bootstrap(values, confidence=0.9, resamples=5_000, seed=4) != first
    monkeypatch.setattr("tuneline.gate.bootstrap._DRAWS_AT_ONCE", 1_000)
    assert paired_bootstrap(values, confidence=0.9, resamples=5_000, seed=3) == first


def test_equal_differences_have_an_interval_of_no_width() -> None:
    ours = paired_bootstrap(np.full(50, 0.25), confidence=0.95, resamples=1_000, seed=1)
    assert (ours.bca.low, ours.bca.high) == pytest.approx((0.25, 0.25))


@pytest.mark.parametrize("values", [[], [1.0], [0.0, float("nan")], [0.0, float("inf")]])
def test_too_few_or_broken_differences_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="at least two finite"):
        paired_bootstrap(np.array(values), confidence=0.95, resamples=1_000, seed=1)


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (5, 0), (6, 0), (3, 9), (40, 20), (7, 7), (700, 600)])
def test_the_sign_test_is_the_exact_binomial_test(wins: int, losses: int) -> None:
    stats = pytest.importorskip("scipy.stats", reason="a development requirement")
    expected = stats.binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert sign_test(wins, losses) == pytest.approx(expected)
