"""The exact tests and Holm's correction give SciPy's and statsmodels' numbers."""

from __future__ import annotations

import numpy as np
import pytest

from tuneline.gate.exact import changes_beyond_luck, least_luck, sign_test
from tuneline.gate.holm import holm

SPLITS = [(0, 0), (1, 0), (5, 0), (6, 0), (3, 9), (40, 20), (7, 7), (700, 600), (2_000, 1_800)]


@pytest.mark.parametrize(("wins", "losses"), SPLITS)
def test_the_sign_test_is_the_exact_binomial_test(wins: int, losses: int) -> None:
    stats = pytest.importorskip("scipy.stats", reason="a development requirement")
    expected = stats.binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert sign_test(wins, losses) == pytest.approx(expected)


@pytest.mark.parametrize(("wins", "losses"), SPLITS[1:])
def test_on_scores_of_0_and_1_it_is_the_exact_mcnemar_test(wins: int, losses: int) -> None:
    tables = pytest.importorskip("statsmodels.stats.contingency_tables", reason="a development requirement")
    expected = tables.mcnemar([[100, wins], [losses, 80]], exact=True).pvalue
    assert sign_test(wins, losses) == pytest.approx(expected)


def test_six_changes_on_one_side_are_the_fewest_that_luck_does_not_explain() -> None:
    assert changes_beyond_luck(0.05) == 6
    for alpha in (0.1, 0.05, 0.025, 0.01, 0.25):
        enough = changes_beyond_luck(alpha)
        assert least_luck(enough) < alpha <= least_luck(enough - 1)
    assert [least_luck(changed) for changed in (0, 1, 5)] == [sign_test(changed, 0) for changed in (0, 1, 5)]


def test_holms_p_values_are_statsmodels() -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest", reason="a development requirement")
    rng = np.random.default_rng(3)
    for count in (1, 2, 3, 7):
        for _ in range(8):
            p_values = (rng.random(count) ** 3).tolist()
            rejected, expected, _, _ = multitest.multipletests(p_values, alpha=0.05, method="holm")
            ours = holm(p_values, confidence=0.95)
            assert [by.p_value for by in ours] == pytest.approx(expected.tolist())
            # The level that the picture is drawn with makes the same decision.
            assert [p < 1 - by.confidence for p, by in zip(p_values, ours, strict=True)] == rejected.tolist()


def test_one_hypothesis_keeps_its_p_value_and_its_confidence() -> None:
    (alone,) = holm([0.03], confidence=0.95)
    assert (alone.p_value, alone.confidence) == (0.03, 0.95)
    assert holm([], confidence=0.95) == []


def test_of_two_the_smaller_needs_twice_the_evidence_and_a_failure_stops_the_rest() -> None:
    both = holm([0.04, 0.01], confidence=0.95)
    assert [by.p_value for by in both] == pytest.approx([0.04, 0.02])
    assert [by.confidence for by in both] == pytest.approx([0.95, 0.975])
    neither = holm([0.04, 0.03], confidence=0.95)
    assert [by.p_value for by in neither] == pytest.approx([0.06, 0.06])
    assert [by.confidence for by in neither] == pytest.approx([0.975, 0.975])
