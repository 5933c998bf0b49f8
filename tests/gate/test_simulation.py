"""How often the gate is wrong, tried on simulated candidates whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.evaluation.reports import report_of
from tuneline.gate.decide import decide

ITEMS = 300


def _upper_bound(trials: int, probability: float) -> int:
    """What a count with this probability exceeds once in a thousand times (normal approximation)."""
    return math.ceil(trials * probability + 3.1 * math.sqrt(trials * probability * (1 - probability)))


def _passes(trials: int, discordant: float, gain: float, seed: int) -> int:
    """Count passes over candidates that change a share of the answers, better by ``gain`` on average."""
    rng = np.random.default_rng(seed)
    passed = 0
    for trial in range(trials):
        champion = (rng.random(ITEMS) < 0.5).astype(float)
        roll = rng.random(ITEMS)
        # A right answer can only be lost and a wrong one only gained, so each rate is relative to its half.
        gained, lost = discordant + gain, discordant - gain
        candidate = np.where(champion == 0, (roll < gained).astype(float), (roll >= lost).astype(float))
        report = report_of({"base": [0.0] * ITEMS, "champion": champion.tolist(), "candidate": candidate.tolist()})
        passed += decide(report, must_beat=("champion",), resamples=1_000, seed=trial).passed
    return passed


@pytest.mark.parametrize("discordant", [0.02, 0.25], ids=["few answers change", "a quarter changes"])
def test_a_candidate_without_any_difference_passes_at_most_one_time_in_twenty(discordant: float) -> None:
    trials = 400
    assert _passes(trials, discordant, gain=0.0, seed=11) <= _upper_bound(trials, 0.05)


def test_a_candidate_better_by_ten_points_passes_nine_times_in_ten() -> None:
    # 17.5 points of wins and 7.5 of losses: a quarter of the answers changes.
    trials = 100
    assert _passes(trials, 0.25, gain=0.1, seed=12) >= trials - _upper_bound(trials, 0.1)
