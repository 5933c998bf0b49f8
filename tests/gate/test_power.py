"""How many questions it takes: the textbook's number, and one that holds when it is tried."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tuneline.gate.power import detectable_difference, items_to_settle


def test_the_detectable_difference_is_the_textbooks() -> None:
    # z(0.975) + z(0.8) = 1.95996 + 0.84162
    assert detectable_difference(0.01, confidence=0.95, power=0.8) == pytest.approx(0.0280158, rel=1e-5)
    power = pytest.importorskip("statsmodels.stats.power", reason="a development requirement")
    per_sd = power.normal_power_het(0.0280158, nobs=1, alpha=0.05, std_null=0.01)
    assert per_sd == pytest.approx(0.8, abs=1e-4)


def test_so_many_items_prove_the_difference_with_the_power_asked_for() -> None:
    gain, items = 0.05, 60
    spread = math.sqrt(0.25 - gain**2)
    needed = items_to_settle(items, gain, spread / math.sqrt(items), confidence=0.95, power=0.8)
    assert needed is not None
    rng = np.random.default_rng(5)
    drawn = rng.multinomial(needed, [0.15, 0.10, 0.75], size=20_000)
    mean = (drawn[:, 0] - drawn[:, 1]) / needed
    error = np.sqrt(((drawn[:, 0] + drawn[:, 1]) / needed - mean**2) / needed)
    assert float((mean - 1.96 * error > 0).mean()) == pytest.approx(0.8, abs=0.015)


def test_it_takes_at_least_one_more_item_and_no_number_settles_a_tie() -> None:
    assert items_to_settle(60, 0.5, 0.01, confidence=0.95, power=0.8) == 61
    assert items_to_settle(60, 0.0, 0.01, confidence=0.95, power=0.8) is None
    assert items_to_settle(60, 1e-9, 0.01, confidence=0.95, power=0.8) is None
    assert items_to_settle(60, -0.01, 0.01, confidence=0.95, power=0.8) == pytest.approx(471, abs=1)
    assert items_to_settle(60, 0.0, 0.0, confidence=0.95, power=0.8) is None
