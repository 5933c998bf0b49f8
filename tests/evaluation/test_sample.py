"""A part of a suite is taken from all of it."""

from __future__ import annotations

from tuneline.evaluation.sample import evenly


def test_a_limit_takes_places_evenly_over_the_suite() -> None:
    assert evenly(20, None) == evenly(20, 1000) == list(range(20))
    assert evenly(20, 4) == [0, 5, 10, 15]
    assert evenly(0, 4) == []
