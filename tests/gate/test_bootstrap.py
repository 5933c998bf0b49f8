"""The intervals are SciPy's, the p-value is the interval turned round, and a seed repeats both."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from tuneline.gate.bootstrap import Bootstrap, Interval, paired_bootstrap

Draw = Callable[[np.random.Generator], NDArray[np.float64]]


def _scores_of_0_and_1(rng: np.random.Generator) -> NDArray[np.float64]:
    return np.asarray((rng.random(200) < 0.6).astype(float) - (rng.random(200) < 0.5), dtype=np.float64)


def _skewed(rng: np.random.Generator) -> NDArray[np.float64]:
    return np.asarray(rng.lognormal(0, 1.2, 100) - 1, dtype=np.float64)


def _few(rng: np.random.Generator) -> NDArray[np.float64]:
    return rng.normal(0.1, 0.3, 12)


DRAWS = [_scores_of_0_and_1, _skewed, _few]


def _drawn(draw: Draw, resamples: int = 20_000) -> Bootstrap:
    return paired_bootstrap(draw(np.random.default_rng(7)), resamples=resamples, seed=1)


def _agree(ours: Interval, theirs: Interval) -> None:
    # Two runs of 20,000 resamples differ by chance: in a long tail by a few hundredths of the width.
    allowed = 0.05 * (theirs.high - theirs.low)
    assert ours.low == pytest.approx(theirs.low, abs=allowed)
    assert ours.high == pytest.approx(theirs.high, abs=allowed)


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("confidence", [0.95, 0.99])
def test_intervals_agree_with_scipys(draw: Draw, confidence: float) -> None:
    stats = pytest.importorskip("scipy.stats", reason="a development requirement")
    values = draw(np.random.default_rng(7))
    ours = _drawn(draw)
    for method, interval in (("percentile", ours.percentile(confidence)), ("BCa", ours.bca(confidence))):
        theirs = stats.bootstrap(
            (values,), np.mean, n_resamples=20_000, confidence_level=confidence, method=method,
            rng=np.random.default_rng(2),
        )  # fmt: skip
        _agree(interval, theirs.confidence_interval)
    assert ours.difference == pytest.approx(values.mean())
    assert ours.standard_error == pytest.approx(values.std() / len(values) ** 0.5, rel=0.03)


def test_intervals_of_whole_sources_agree_with_scipys_bootstrap_of_their_sums_and_sizes() -> None:
    stats = pytest.importorskip("scipy.stats", reason="a development requirement")
    rng = np.random.default_rng(8)
    sizes = rng.integers(1, 12, 30)
    groups = np.repeat(np.arange(30), sizes)
    values = rng.normal(0.2, 0.5, 30)[groups] + rng.normal(0, 0.2, len(groups))
    ours = paired_bootstrap(values, resamples=20_000, seed=1, groups=groups)
    theirs = stats.bootstrap(
        (np.bincount(groups, weights=values), sizes), lambda sums, counts: sums.sum() / counts.sum(), paired=True,
        vectorized=False, n_resamples=20_000, method="BCa", rng=np.random.default_rng(2),
    )  # fmt: skip
    _agree(ours.bca(0.95), theirs.confidence_interval)
    assert ours.units == 30
    assert ours.difference == pytest.approx(values.mean())


def test_alike_items_make_the_interval_wider_if_their_sources_are_resampled() -> None:
    rng = np.random.default_rng(9)
    groups = np.repeat(np.arange(40), 8)
    values = (rng.random(40) < 0.5).astype(float)[groups]
    alone = paired_bootstrap(values, resamples=5_000, seed=1)
    together = paired_bootstrap(values, resamples=5_000, seed=1, groups=groups)
    # Eight copies of one observation are one observation: the standard error is sqrt(8) times as large.
    assert together.standard_error / alone.standard_error == pytest.approx(8**0.5, rel=0.05)


def test_groups_of_one_item_each_are_no_groups() -> None:
    values = _few(np.random.default_rng(7))
    alone = paired_bootstrap(values, resamples=5_000, seed=1)
    grouped = paired_bootstrap(values, resamples=5_000, seed=1, groups=np.arange(len(values)))
    assert grouped.bca(0.95) == alone.bca(0.95)


@pytest.mark.parametrize("draw", DRAWS)
def test_the_p_value_is_the_level_at_which_the_interval_reaches_the_threshold(draw: Draw) -> None:
    found = _drawn(draw)
    for threshold in np.linspace(found.means[40], found.means[-40], 25):
        p_value = found.p_value(float(threshold))
        low, high = 1e-6, 1 - 1e-6  # bisection for the confidence at which the threshold leaves the interval
        for _ in range(60):
            middle = (low + high) / 2
            interval = found.bca(middle)
            is_inside = interval.low <= threshold <= interval.high
            low, high = (low, middle) if is_inside else (middle, high)
        assert p_value == pytest.approx(1 - low, abs=2e-3)


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.975, 0.99])
def test_the_p_value_and_the_interval_never_disagree(draw: Draw, confidence: float) -> None:
    for seed in range(20):
        found = paired_bootstrap(draw(np.random.default_rng(seed)), resamples=2_000, seed=seed)
        interval = found.bca(confidence)
        for threshold in (-0.05, 0.0, 0.02, 0.1, interval.low, interval.high):
            is_outside = threshold < interval.low or threshold > interval.high
            assert (found.p_value(threshold) < 1 - confidence) == is_outside


def test_the_bca_interval_leans_to_the_side_of_the_long_tail() -> None:
    ours = _drawn(_skewed)
    assert ours.bca(0.95).low > ours.percentile(0.95).low
    assert ours.bca(0.95).high > ours.percentile(0.95).high


@pytest.mark.parametrize("draw", DRAWS)
def test_a_seed_repeats_the_means_and_chunks_do_not_matter(draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    values = draw(np.random.default_rng(7))
    first = paired_bootstrap(values, resamples=5_000, seed=3)
    assert np.array_equal(paired_bootstrap(values, resamples=5_000, seed=3).means, first.means)
    assert not np.array_equal(paired_bootstrap(values, resamples=5_000, seed=4).means, first.means)
    monkeypatch.setattr("tuneline.gate.bootstrap._DRAWS_AT_ONCE", 1_000)
    assert np.array_equal(paired_bootstrap(values, resamples=5_000, seed=3).means, first.means)


def test_counting_kinds_of_items_has_the_distribution_of_drawing_items(monkeypatch: pytest.MonkeyPatch) -> None:
    stats = pytest.importorskip("scipy.stats", reason="a development requirement")
    values = _scores_of_0_and_1(np.random.default_rng(7))
    counted = paired_bootstrap(values, resamples=20_000, seed=3).means
    monkeypatch.setattr("tuneline.gate.bootstrap._FEW_KINDS", 0)
    drawn = paired_bootstrap(values, resamples=20_000, seed=4).means
    assert stats.ks_2samp(counted, drawn).pvalue > 0.001


def test_equal_differences_have_an_interval_of_no_width() -> None:
    ours = paired_bootstrap(np.full(50, 0.1), resamples=1_000, seed=1)
    assert (ours.bca(0.95).low, ours.bca(0.95).high) == pytest.approx((0.1, 0.1))
    assert ours.p_value(0.1) == 1.0
    assert ours.p_value(0.0) == pytest.approx(1 / 1_000)


@pytest.mark.parametrize("values", [[], [1.0], [0.0, float("nan")], [0.0, float("inf")]])
def test_too_few_or_broken_differences_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="at least two finite"):
        paired_bootstrap(np.array(values), resamples=1_000, seed=1)


def test_one_group_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two"):
        paired_bootstrap(np.array([0.0, 1.0]), resamples=1_000, seed=1, groups=np.array([0, 0]))
