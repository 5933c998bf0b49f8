"""How often the gate is wrong, tried on 2,000 simulated candidates whose truth is known.

``python -m benchmarks.gate`` does the same over more cases and with all resamples.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.evaluation.reports import report_with, subject_of, suite_of
from tuneline.config import GateConfig
from tuneline.gate.decide import decide

ITEMS = 300
CANDIDATES = 2_000
_RULES = GateConfig(must_beat=("champion",), resamples=1_000)


def _passes(
    champion: NDArray[np.float64], candidates: NDArray[np.float64], sources: list[str], rules: GateConfig
) -> int:
    suite = suite_of({"base": [0.0] * ITEMS, "champion": champion.tolist()}, sources=sources)
    passed = 0
    for seed, candidate in enumerate(candidates):
        subjects = (*suite.subjects, subject_of("candidate", candidate.tolist()))
        report = report_with(suite.model_copy(update={"subjects": subjects}))
        passed += decide(report, rules.model_copy(update={"seed": seed})).passed
    return passed


def _candidates(champion: NDArray[np.float64], discordant: float, gain: float, seed: int) -> NDArray[np.float64]:
    """Scores of candidates that change a share of the answers and are better by ``gain`` on average."""
    # Half of the champion's answers are right and can be lost, half can be gained: each rate is relative to its half.
    change = np.where(champion == 0, discordant + gain, discordant - gain)
    return np.abs(champion - (np.random.default_rng(seed).random((CANDIDATES, ITEMS)) < change))


CHAMPION = np.array([float(n % 2) for n in range(ITEMS)])
ONE_SOURCE = ["git/log"] * ITEMS


@pytest.mark.parametrize("discordant", [0.02, 0.25], ids=["few answers change", "a quarter changes"])
def test_without_any_difference_at_most_one_candidate_in_twenty_passes(discordant: float) -> None:
    passed = _passes(CHAMPION, _candidates(CHAMPION, discordant, 0.0, seed=11), ONE_SOURCE, _RULES)
    assert passed <= 0.05 * CANDIDATES


def test_better_by_ten_points_with_a_quarter_changed_at_least_nine_candidates_in_ten_pass() -> None:
    # 17.5 points of wins and 7.5 of losses.
    passed = _passes(CHAMPION, _candidates(CHAMPION, 0.25, 0.1, seed=12), ONE_SOURCE, _RULES)
    assert passed >= 0.9 * CANDIDATES


def test_items_that_are_alike_within_their_sources_pass_too_often_unless_sources_are_resampled() -> None:
    champion = np.full(ITEMS, 0.5)
    rng = np.random.default_rng(13)
    # 30 sources of 10 items; half of the variance of a difference is its source's: intra-source correlation 0.5.
    of_source = np.repeat(rng.normal(0, 0.2, (CANDIDATES, 30)), 10, axis=1)
    candidates = champion + of_source + rng.normal(0, 0.2, (CANDIDATES, ITEMS))
    sources = [f"s{n // 10}" for n in range(ITEMS)]
    assert _passes(champion, candidates, sources, _RULES) <= 0.05 * CANDIDATES
    by_item = _RULES.model_copy(update={"clusters": "none"})
    assert _passes(champion, candidates[:500], sources, by_item) > 0.1 * 500
