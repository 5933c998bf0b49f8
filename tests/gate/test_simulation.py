"""How often the gate is wrong, tried on 2,000 simulated candidates whose truth is known.

``python -m benchmarks.gate`` does the same over more cases and with all resamples.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.evaluation.reports import report_with, subject_of, suite_of
from tuneline.config import GateConfig
from tuneline.evaluation.report import SubjectResult
from tuneline.gate.decide import decide

Scores = NDArray[np.float64]

ITEMS = 300
CANDIDATES = 2_000
_RULES = GateConfig(must_beat=("champion",), resamples=1_000)


def _passes(champion: Scores, candidates: Scores, sources: list[str], rules: GateConfig) -> int:
    suite = suite_of({"base": [0.0] * ITEMS, "champion": champion.tolist()}, sources=sources)
    # Building 600,000 answers would take longer than judging them: there are three per question.
    answers = {score: subject_of("candidate", [score] * ITEMS).results for score in (0.0, 0.5, 1.0)}
    passed = 0
    for seed, scores in enumerate(candidates):
        results = tuple(answers[float(score)][place] for place, score in enumerate(scores))
        candidate = SubjectResult(role="candidate", results=results)
        report = report_with(suite.model_copy(update={"subjects": (*suite.subjects, candidate)}))
        passed += decide(report, rules.model_copy(update={"seed": seed})).passed
    return passed


def _candidates(champion: Scores, discordant: float, gain: float, seed: int) -> Scores:
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
    rng = np.random.default_rng(13)
    # 30 sources of 10 items. An item's score is its source's in seven cases of ten: two of a source correlate by 0.49.
    scores, chances = [0.0, 0.5, 1.0], [0.25, 0.5, 0.25]
    of_source = np.repeat(rng.choice(scores, p=chances, size=(CANDIDATES, 30)), 10, axis=1)
    own = rng.choice(scores, p=chances, size=(CANDIDATES, ITEMS))
    candidates = np.where(rng.random((CANDIDATES, ITEMS)) < 0.7, of_source, own)
    champion = np.full(ITEMS, 0.5)
    sources = [f"s{n // 10}" for n in range(ITEMS)]
    assert _passes(champion, candidates, sources, _RULES) <= 0.05 * CANDIDATES
    by_item = _RULES.model_copy(update={"clusters": "none"})
    assert _passes(champion, candidates[:500], sources, by_item) > 0.1 * 500
