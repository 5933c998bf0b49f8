"""Targets must improve, guards must not get worse, and several of them are one decision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.evaluation.reports import judged, report_of, report_with, suite_of
from tests.gate.scores import BASE, CHAMPION, flip, scores
from tuneline.config import GateConfig
from tuneline.evaluation.report import SuiteReport
from tuneline.gate.decide import decide
from tuneline.gate.verdict import Verdict

BETTER = flip(CHAMPION, gained=60, lost=10)
BARELY = flip(CHAMPION, gained=20, lost=8)  # p = 0.036: enough for one target, not for one of two
SAME = flip(CHAMPION, gained=12, lost=10)
LOST = flip(CHAMPION, gained=10, lost=11)
WORSE = flip(CHAMPION, gained=5, lost=60)


def _suite(name: str, candidate: list[float], role: str = "target", **more: Any) -> SuiteReport:
    return suite_of({"base": BASE, "champion": CHAMPION, "candidate": candidate}, name, role=role, **more)


def _decide(*suites: SuiteReport, **rules: Any) -> Verdict:
    return decide(report_with(*suites), GateConfig(**rules))


def test_better_on_the_target_and_worse_on_a_guard_fails_and_names_the_guard() -> None:
    verdict = _decide(_suite("heldout", BETTER), _suite("safety", WORSE, "guard"))
    assert [(rule.role, rule.outcome) for rule in verdict.rules] == [("target", "PASS"), ("guard", "FAIL")]
    assert verdict.outcome == "FAIL"
    assert verdict.sentence.startswith(
        "The candidate does not pass. On safety, it is worse than the champion (version 3) by more than 2.0 points: "
        "45.3 against 62.5 of 100 points of exact match on 320 questions, -17.2, with 95% confidence between "
    )


def test_better_on_the_target_and_no_worse_on_a_guard_passes() -> None:
    guard = _suite("safety", flip(CHAMPION, gained=8, lost=6), "guard", margin=0.05)
    verdict = _decide(guard, _suite("heldout", BETTER))
    assert verdict.outcome == "PASS"
    assert [rule.suite for rule in verdict.rules] == ["heldout", "safety"]
    target, kept = verdict.rules
    assert [c.opponent for c in target.comparisons] == ["base", "champion"]
    assert [c.opponent for c in kept.comparisons] == ["champion"]
    assert kept.threshold == -0.05
    assert kept.sentence.startswith(
        "On safety, it is not worse than the champion (version 3) by more than 5.0 points: "
    )
    assert verdict.sentence.startswith(
        "The candidate is proven better on heldout, and no worse than allowed on safety. On heldout, it is better than"
    )


def test_a_guard_that_nothing_changed_on_passes() -> None:
    verdict = _decide(_suite("heldout", BETTER), _suite("safety", CHAMPION, "guard", margin=0.02))
    assert verdict.outcome == "PASS"
    assert "nothing was lost" in verdict.rules[1].sentence


def test_a_guard_of_few_questions_passes_only_if_a_loss_of_its_margin_would_have_shown() -> None:
    few = scores(40, of=60)
    for items, outcome in ((60, "INCONCLUSIVE"), (182, "INCONCLUSIVE"), (183, "PASS")):  # 2 * 0.98**183 < 0.05
        champion = (few * 4)[:items]
        guard = suite_of({"base": champion, "champion": champion, "candidate": champion}, "safety", role="guard")
        rule = _decide(_suite("heldout", BETTER), guard).rules[1]
        assert rule.outcome == outcome, items
    guard = suite_of({"base": few, "champion": few, "candidate": few}, "safety", role="guard")
    rule = _decide(_suite("heldout", BETTER), guard).rules[1]
    assert rule.comparisons[0].hidden_loss == pytest.approx(0.98**60)
    assert rule.comparisons[0].needed_items is not None and 183 <= rule.comparisons[0].needed_items <= 193
    assert "may hide a loss of 2.0 points (probability 30%)" in rule.sentence
    assert "About 130 more questions would settle it." in rule.sentence


def test_a_guard_without_bounds_passes_if_nothing_changed() -> None:
    brief = [12.0] * 60
    guard = suite_of({"base": brief, "champion": brief, "candidate": brief}, "brief", metric="length", role="guard")
    assert _decide(_suite("heldout", BETTER), guard).outcome == "PASS"


def test_a_guard_that_may_have_lost_more_than_its_margin_is_inconclusive_and_says_what_would_settle_it() -> None:
    verdict = _decide(_suite("heldout", BETTER), _suite("safety", SAME, "guard", margin=0.01))
    guard = verdict.rules[1]
    assert guard.outcome == verdict.outcome == "INCONCLUSIVE"
    (found,) = guard.comparisons
    assert found.low < -0.01 < found.high
    assert found.needed_items is not None
    assert found.p_value == guard.p_value == guard.adjusted_p
    assert "it is not known whether it is worse than the champion (version 3) by more than 1.0 points" in guard.sentence
    assert "more questions would settle it." in guard.sentence


def test_without_a_champion_a_guard_is_compared_with_the_base_model() -> None:
    target = suite_of({"base": CHAMPION, "candidate": BETTER})
    guard = suite_of({"base": CHAMPION, "candidate": WORSE}, "safety", role="guard")
    verdict = _decide(target, guard)
    assert [c.opponent for c in verdict.rules[1].comparisons] == ["base"]
    assert verdict.outcome == "FAIL"


def test_the_suites_own_limits_come_before_the_gates() -> None:
    own = _decide(_suite("heldout", BETTER, min_difference=0.5), _suite("g", LOST, "guard", margin=0.3))
    assert [rule.threshold for rule in own.rules] == [0.5, -0.3]
    gates = _decide(_suite("heldout", BETTER), _suite("g", LOST, "guard"), min_difference=0.05, margin=0.1)
    assert [rule.threshold for rule in gates.rules] == [0.05, -0.1]
    # A limit of nothing is a limit.
    nothing = _decide(_suite("heldout", BETTER, min_difference=0.0), min_difference=0.5)
    assert nothing.rules[0].threshold == 0.0


def test_two_targets_share_the_confidence_of_one() -> None:
    alone = _decide(_suite("heldout", BARELY))
    assert alone.outcome == "PASS"
    assert 0.025 < alone.rules[0].p_value < 0.05
    both = _decide(_suite("heldout", BARELY), _suite("kubectl", SAME))
    first, second = both.rules
    assert both.outcome == first.outcome == "INCONCLUSIVE"
    assert first.p_value == alone.rules[0].p_value
    assert first.adjusted_p == pytest.approx(2 * first.p_value)
    assert first.confidence == second.confidence == pytest.approx(0.975)
    assert first.comparisons[1].low < alone.rules[0].comparisons[1].low
    assert "with 97.5% confidence" in first.sentence
    assert both.sentence.endswith("Nor is kubectl decided.")


def test_a_clear_target_leaves_the_full_confidence_to_the_other() -> None:
    verdict = _decide(_suite("heldout", BARELY), _suite("kubectl", BETTER))
    assert verdict.outcome == "PASS"
    assert [rule.confidence for rule in verdict.rules] == pytest.approx([0.95, 0.975])
    assert verdict.sentence.startswith("The candidate is proven better on heldout and kubectl. ")


def test_guards_take_no_confidence_from_targets() -> None:
    verdict = _decide(_suite("heldout", BARELY), _suite("a", CHAMPION, "guard"), _suite("b", CHAMPION, "guard"))
    assert verdict.outcome == "PASS"
    assert {rule.confidence for rule in verdict.rules} == {0.95}


@pytest.mark.parametrize(
    ("second", "every", "one"),
    [
        (BETTER, "PASS", "PASS"),
        (SAME, "INCONCLUSIVE", "PASS"),
        (CHAMPION, "FAIL", "PASS"),
        (LOST, "FAIL", "PASS"),
        (WORSE, "FAIL", "FAIL"),
    ],
    ids=["better", "perhaps better", "the same", "a little worse", "proven worse"],
)
def test_one_target_may_be_enough_unless_another_is_proven_worse(second: list[float], every: str, one: str) -> None:
    suites = _suite("heldout", BETTER), _suite("kubectl", second)
    assert _decide(*suites, targets="all").outcome == every
    verdict = _decide(*suites, targets="any")
    assert verdict.outcome == one
    assert "kubectl" in verdict.sentence


def test_where_no_target_improved_one_that_might_have_keeps_it_undecided() -> None:
    assert _decide(_suite("heldout", SAME), _suite("kubectl", LOST), targets="any").outcome == "INCONCLUSIVE"
    assert _decide(_suite("heldout", CHAMPION), _suite("kubectl", LOST), targets="any").outcome == "FAIL"


def test_a_guard_decides_whatever_is_enough_for_targets() -> None:
    suites = _suite("heldout", BETTER), _suite("kubectl", BETTER), _suite("safety", WORSE, "guard")
    assert _decide(*suites, targets="any").outcome == "FAIL"


def _drawn(seed: int, mean: float, count: int = 200) -> list[float]:
    return [float(value) for value in np.random.default_rng(seed).normal(mean, mean / 5, count)]


def test_a_guard_of_length_speaks_of_percent_and_of_more_and_less() -> None:
    before = _drawn(1, 40.0)
    for factor, outcome, words in (
        (1.01, "PASS", "it is not worse than the base model by more than 10.0%: answer length "),
        (1.30, "FAIL", "it is worse than the base model by more than 10.0%: answer length "),
    ):
        longer = [factor * tokens for tokens in before]
        guard = suite_of({"base": before, "candidate": longer}, "brief", metric="length", role="guard", margin=0.1)
        target = suite_of({"base": [0.0] * 200, "candidate": [1.0] * 200})
        rule = _decide(target, guard).rules[1]
        assert rule.outcome == outcome
        (found,) = rule.comparisons
        assert found.difference == pytest.approx(1 - factor, abs=1e-9)
        assert words in rule.sentence
        assert f"tokens on 200 questions, {factor - 1:.1%} more, with 95% confidence between " in rule.sentence
        assert "% more and " in rule.sentence


def test_a_target_of_perplexity_is_better_the_lower_it_is() -> None:
    before = _drawn(2, 2.0)
    after = [value - 0.3 + noise for value, noise in zip(before, _drawn(3, 0.1), strict=True)]
    verdict = _decide(suite_of({"base": before, "candidate": after}, metric="perplexity"))
    assert verdict.outcome == "PASS"
    assert verdict.rules[0].comparisons[0].difference == pytest.approx(0.2, abs=0.01)
    assert "It is better than the base model: log-perplexity " in verdict.sentence
    assert (
        "nats per token on 200 questions, 0.199 less, with 95% confidence between 0.202 less and 0.196 less "
        in verdict.sentence
    )
    assert _decide(suite_of({"base": after, "candidate": before}, metric="perplexity")).outcome == "FAIL"


def _preferences(won: int, lost: int, tied: int) -> list[float]:
    return [1.0] * won + [-1.0] * lost + [0.0] * tied


@pytest.mark.parametrize(
    ("over_champion", "outcome"),
    [((60, 20, 20), "PASS"), ((30, 25, 45), "INCONCLUSIVE"), ((20, 60, 20), "FAIL"), ((0, 0, 100), "FAIL")],
)
def test_a_judges_preferences_are_a_target_like_any_other(over_champion: tuple[int, int, int], outcome: str) -> None:
    suite = judged({"base": _preferences(90, 5, 5), "champion": _preferences(*over_champion)}, role="target")
    verdict = _decide(suite)
    assert verdict.outcome == outcome
    won, lost, tied = over_champion
    found = verdict.rules[0].comparisons[1]
    assert (found.wins, found.losses, found.ties) == over_champion
    assert found.difference == pytest.approx((won - lost) / 100)
    assert (found.candidate_mean, found.opponent_mean) == pytest.approx(
        ((won + tied / 2) / 100, (lost + tied / 2) / 100)
    )
    if outcome == "PASS":
        assert "the judge preferred it on 70.0% of 100 questions, ties half, +40.0" in verdict.sentence


def _by_source(sources: int, each: int, better: int, worse: int) -> tuple[list[str], list[float], list[float]]:
    """Sources that are better or worse as a whole, as those that share a topic may be."""
    names = [f"s{n}" for n in range(sources) for _ in range(each)]
    champion = [0.0 if n < better else 1.0 for n in range(sources) for _ in range(each)]
    candidate = [0.0 if better <= n < better + worse else 1.0 for n in range(sources) for _ in range(each)]
    return names, champion, candidate


def _clustered(made: tuple[list[str], list[float], list[float]], clusters: str, **rules: Any) -> Verdict:
    names, champion, candidate = made
    report = report_of({"base": [0.0] * len(names), "champion": champion, "candidate": candidate}, names)
    return decide(report, GateConfig(clusters=clusters, must_beat=("champion",), **rules))


def test_a_gain_that_hangs_on_few_sources_passes_only_if_items_are_taken_for_independent() -> None:
    made = _by_source(30, each=10, better=7, worse=3)
    assert _clustered(made, "none").outcome == "PASS"
    for clusters in ("auto", "source"):
        verdict = _clustered(made, clusters)
        assert verdict.outcome == "INCONCLUSIVE"
        (found,) = verdict.rules[0].comparisons
        assert (found.items, found.clusters) == (300, 30)
        assert "more questions from new sources would settle it" in verdict.sentence


def test_few_sources_are_resampled_only_if_that_is_asked_for() -> None:
    made = _by_source(10, each=20, better=8, worse=1)
    assert _clustered(made, "auto").rules[0].comparisons[0].clusters == 200
    assert _clustered(made, "source").rules[0].comparisons[0].clusters == 10


def test_sources_of_one_question_each_are_the_questions() -> None:
    made = _by_source(300, each=1, better=70, worse=30)
    assert _clustered(made, "source") == _clustered(made, "none")


def test_five_sources_all_better_may_be_luck_however_many_questions_they_have() -> None:
    verdict = _clustered(_by_source(5, each=60, better=5, worse=0), "source")
    assert verdict.outcome == "INCONCLUSIVE"
    assert verdict.rules[0].comparisons[0].luck == pytest.approx(2 / 2**5)
    assert _clustered(_by_source(6, each=60, better=6, worse=0), "source").outcome == "PASS"


def test_one_source_says_nothing_about_others() -> None:
    verdict = _clustered(_by_source(1, each=300, better=1, worse=0), "source")
    assert verdict.outcome == "INCONCLUSIVE"
    assert "All 300 questions come from one source, so nobody knows how much another would differ" in verdict.sentence
    assert verdict.rules[0].comparisons == ()


def test_the_picture_and_the_decision_agree() -> None:
    rng = np.random.default_rng(4)
    for seed in range(60):
        gain = rng.uniform(-0.05, 0.15)
        made = [
            flip(CHAMPION, gained=int(rng.integers(5, 40) + 160 * gain), lost=int(rng.integers(3, 25))) for _ in "123"
        ]
        verdict = _decide(
            *[_suite(f"t{n}", candidate) for n, candidate in enumerate(made)],
            _suite("g", made[0], "guard"),
            seed=seed,
            resamples=2_000,
        )
        for rule in verdict.rules:
            passed = [
                c.low > rule.threshold and (rule.role == "guard" or c.luck < 1 - rule.confidence)
                for c in rule.comparisons
            ]
            assert [c.outcome == "PASS" for c in rule.comparisons] == passed
            assert (
                (rule.outcome == "PASS")
                == all(passed)
                == (rule.adjusted_p < 0.05 and min(c.difference for c in rule.comparisons) > rule.threshold)
            )
