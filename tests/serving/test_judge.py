"""When a challenger is found to be worse than its bounds allow, and when that was chance."""

from __future__ import annotations

import random
from typing import Any

import pytest

from serving.canary.judge import chance, judge
from serving.canary.window import STEP, Answer, Window
from tuneline.release import CanaryBounds

BOUNDS = CanaryBounds(min_requests=20, ttft=2)


def filled(
    champion: dict[str, float], challenger: dict[str, float], answers: int = 2000, percent: float = 20, seed: int = 3
) -> tuple[Window, Any]:
    """A canary's window and the first verdict on it; versions are the shares of 1 of what went wrong."""
    luck, window = random.Random(seed), Window(BOUNDS.min_requests)
    for number in range(answers):
        new = luck.random() * 100 < percent
        shares = challenger if new else champion
        ttft = shares.get("ttft", 0.1) * luck.lognormvariate(0, 0.5)
        wrong = {name: luck.random() < shares.get(name, 0) for name in ("errors", "empty", "overlong")}
        window.add(Answer(f"caller {number % 400}", ttft=ttft, **wrong), challenger=new)
        if new and (verdict := judge(window, BOUNDS, "6")) is not None:
            return window, verdict
    return window, None


@pytest.mark.parametrize("reason", ["errors", "empty", "overlong", "ttft"])
def test_each_bound_ends_a_canary_and_says_with_which_numbers(reason: str) -> None:
    worse = 0.5
    window, verdict = filled({reason: 0.02 if reason != "ttft" else 0.1}, {reason: worse})
    assert verdict.reason == reason
    assert window.seen < 100
    assert "version 6's" in verdict.numbers and "allowed" in verdict.numbers


def test_two_equal_versions_that_often_fail_are_left_alone() -> None:
    same = {"errors": 0.1, "empty": 0.1, "overlong": 0.3}
    assert filled(same, same, answers=10_000)[1] is None


@pytest.mark.parametrize(
    ("reason", "usual", "worse"),
    [("errors", 0.002, 0.02), ("empty", 0.01, 0.055), ("overlong", 0.05, 0.14), ("ttft", 0.1, 0.19)],
)
def test_a_challenger_that_is_worse_within_its_bounds_keeps_its_traffic(
    reason: str, usual: float, worse: float
) -> None:
    assert [filled({reason: usual}, {reason: worse}, seed=seed)[1] for seed in range(20)] == [None] * 20


def test_nothing_is_judged_before_the_challenger_has_answered_often_enough() -> None:
    window = Window(BOUNDS.min_requests)
    for number in range(BOUNDS.min_requests):
        assert judge(window, BOUNDS, "1") is None
        window.add(Answer(number), challenger=False)
        window.add(Answer(number, errors=True), challenger=True)
    assert judge(window, BOUNDS, "1") is not None


def test_a_challenger_with_all_the_traffic_is_judged_against_nothing() -> None:
    _, verdict = filled({}, {"errors": 0.5}, percent=100)
    assert verdict.reason == "errors"
    assert "answered nothing meanwhile" in verdict.numbers
    assert filled({}, {"errors": 0.015}, percent=100)[1] is None


def test_one_caller_whose_answers_are_always_cut_off_ends_no_canary() -> None:
    window = Window(BOUNDS.min_requests)
    for number in range(500):
        window.add(Answer(f"caller {number % 40}"), challenger=False)
        window.add(Answer("the greedy one", overlong=True, ttft=9.0), challenger=True)
        window.add(Answer(f"another {number % 10}", ttft=0.1), challenger=True)
        assert judge(window, BOUNDS, "1") is None


def test_a_version_that_breaks_late_is_found_in_the_newest_answers() -> None:
    window = Window(BOUNDS.min_requests)
    for number in range(20_000):
        window.add(Answer(number), challenger=number % 2 == 0)
    assert window.challenger.counts.answers <= window.length
    assert len(window.champion.sampled()) <= window.length
    for number in range(200):
        window.add(Answer(number), challenger=False)
        window.add(Answer(number, errors=True), challenger=True)
        if judge(window, BOUNDS, "1"):
            break
    assert number < 2 * STEP


def test_the_probability_is_fishers() -> None:
    assert chance(3, 4, 1, 4) == pytest.approx(17 / 70)  # the lady tasting tea
    assert chance(5, 50, 50, 500) == pytest.approx(0.586, abs=0.02)
