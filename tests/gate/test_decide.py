"""Only what is proven better passes. A tie, luck and a broken evaluation do not."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from tests.evaluation.reports import report_of
from tests.gate.scores import BASE, CHAMPION, flip, scores
from tuneline.config import GateConfig
from tuneline.evaluation.report import EngineAgreement, EvaluationReport
from tuneline.gate.decide import decide
from tuneline.gate.verdict import Verdict


def _judge(candidate: list[float], **rules: Any) -> Verdict:
    return decide(report_of({"base": BASE, "champion": CHAMPION, "candidate": candidate}), GateConfig(**rules))


def test_a_candidate_better_than_everyone_passes() -> None:
    verdict = _judge(flip(CHAMPION, gained=60, lost=10))
    assert verdict.outcome == "PASS"
    assert verdict.passed
    (rule,) = verdict.rules
    base, champion = rule.comparisons
    assert (champion.wins, champion.losses, champion.ties) == (60, 10, 250)
    assert champion.difference == pytest.approx(50 / 320)
    assert champion.low > 0
    assert champion.needed_items is None
    assert base.opponent == "base"
    assert (rule.suite, rule.role, rule.metric, rule.items, rule.confidence) == (
        "heldout",
        "target",
        "exact_match",
        320,
        0.95,
    )
    assert "proven better" in verdict.sentence
    assert "It is better than the champion (version 3): " in verdict.sentence
    assert "78.1 against 62.5 of 100 points of exact match on 320 questions, +15.6, with 95% " in verdict.sentence


def test_a_first_candidate_has_only_the_base_model_to_beat() -> None:
    verdict = decide(report_of({"base": BASE, "candidate": scores(280, of=320)}), GateConfig())
    assert verdict.outcome == "PASS"
    assert [c.opponent for c in verdict.rules[0].comparisons] == ["base"]
    only_champion = decide(report_of({"base": BASE, "candidate": BASE}), GateConfig(must_beat=("champion",)))
    assert [c.opponent for c in only_champion.rules[0].comparisons] == ["base"]
    assert only_champion.outcome == "FAIL"


def test_an_identical_candidate_fails_as_nothing_was_gained() -> None:
    verdict = _judge(CHAMPION)
    assert verdict.outcome == "FAIL"
    assert "On none of the 320 questions" in verdict.sentence
    assert "nothing was gained" in verdict.sentence


def test_a_candidate_that_never_learnt_anything_fails_against_the_base_model() -> None:
    verdict = decide(report_of({"base": BASE, "candidate": BASE}), GateConfig())
    assert verdict.outcome == "FAIL"
    assert "the base model" in verdict.sentence


def test_a_worse_candidate_fails_even_if_that_could_be_chance() -> None:
    clearly = _judge(flip(CHAMPION, gained=5, lost=60))
    barely = _judge(flip(CHAMPION, gained=10, lost=11))
    assert clearly.outcome == barely.outcome == "FAIL"
    assert "It is worse than the champion" in clearly.sentence
    assert "It did worse than the champion" in barely.sentence
    assert barely.rules[0].comparisons[1].high > 0


@pytest.mark.parametrize(("gained", "lost"), [(3, 0), (5, 0), (20, 12), (10, 10)])
def test_a_gain_that_may_be_luck_is_inconclusive(gained: int, lost: int) -> None:
    verdict = _judge(flip(CHAMPION, gained=gained, lost=lost))
    assert verdict.outcome == "INCONCLUSIVE"
    assert not verdict.passed
    assert "It is not known whether it is better than the champion" in verdict.sentence
    assert "the base model" not in verdict.sentence.split("champion")[0]


def test_three_items_of_luck_do_not_pass_although_their_bootstrap_interval_lies_above_zero() -> None:
    verdict = _judge(flip(CHAMPION, gained=3))
    champion = verdict.rules[0].comparisons[1]
    assert champion.low > 0
    assert champion.p_value == champion.luck == pytest.approx(0.25)
    assert "may be luck (probability 25%)" in verdict.sentence


def test_better_by_three_of_sixty_is_inconclusive_and_says_how_many_more_would_settle_it() -> None:
    champion = scores(40, of=60)
    report = report_of({"base": [0.0] * 60, "champion": champion, "candidate": flip(champion, gained=3)})
    verdict = decide(report, GateConfig())
    assert verdict.outcome == "INCONCLUSIVE"
    found = verdict.rules[0].comparisons[1]
    assert found.needed_items is not None
    # Five hundredths, all of them wins: (2.8016 * 0.02814 / 0.05)**2 = 2.49 times 60. Six wins, 120 items, must be.
    assert 140 <= found.needed_items <= 155
    assert verdict.sentence.endswith("About 100 more questions would settle it.")
    assert found.detectable == pytest.approx(6 / 60)


def test_the_advice_is_never_below_what_the_exact_test_needs() -> None:
    # Four wins in ten: by the normal approximation 12 questions are enough, but then there are fewer than six wins.
    report = report_of({"base": [0.0] * 10, "candidate": scores(4, of=10)})
    verdict = decide(report, GateConfig(min_items=10))
    assert verdict.outcome == "INCONCLUSIVE"
    needed = verdict.rules[0].comparisons[0].needed_items
    assert needed is not None and 15 <= needed <= 16


def test_what_a_tie_lacks_is_not_more_questions() -> None:
    verdict = _judge(flip(CHAMPION, gained=10, lost=10))
    assert verdict.rules[0].comparisons[1].needed_items is None
    assert (
        "More questions would hardly settle it: it lies too close to what is asked for. 320 questions can prove"
        in verdict.sentence
    )


def test_three_lucky_items_of_a_graded_metric_do_not_pass_either() -> None:
    champion = [0.5] * 320
    candidate = [0.9] * 3 + champion[3:]
    verdict = decide(report_of({"base": BASE, "champion": champion, "candidate": candidate}), GateConfig())
    assert verdict.outcome == "INCONCLUSIVE"
    needed = verdict.rules[0].comparisons[1].needed_items
    assert needed is not None and needed >= 640  # six changed items at least
    many = [value + random.Random(n).gauss(0.05, 0.2) for n, value in enumerate(champion)]
    better = report_of({"base": BASE, "champion": champion, "candidate": many})
    assert decide(better, GateConfig()).outcome == "PASS"


def test_the_worst_comparison_is_the_verdict() -> None:
    report = report_of({"base": CHAMPION, "champion": BASE, "candidate": CHAMPION})
    verdict = decide(report, GateConfig())
    assert [c.outcome for c in verdict.rules[0].comparisons] == ["FAIL", "PASS"]
    assert verdict.outcome == "FAIL"
    assert decide(report, GateConfig(must_beat=("champion",))).outcome == "PASS"


def test_a_wanted_difference_must_be_exceeded_by_the_whole_interval() -> None:
    candidate = flip(CHAMPION, gained=60, lost=10)
    assert _judge(candidate, min_difference=0.05).outcome == "PASS"
    assert _judge(candidate, min_difference=0.15).outcome == "INCONCLUSIVE"
    failed = _judge(candidate, min_difference=0.5)
    assert failed.outcome == "FAIL"
    assert "not better than the champion (version 3) by more than 50.0 points" in failed.sentence


def test_too_few_questions_decide_nothing_whatever_they_say() -> None:
    verdict = decide(report_of({"base": [0.0] * 5, "candidate": [1.0] * 5}), GateConfig(min_items=50))
    assert verdict.outcome == "INCONCLUSIVE"
    assert verdict.sentence == (
        "The evidence is not enough. Only 5 questions were asked and at least 50 are needed, so nothing is decided. "
        "Ask 45 more."
    )


@pytest.mark.parametrize("gain", [1.0, 0.3])
def test_five_items_are_inconclusive_even_where_one_is_said_to_be_enough(gain: float) -> None:
    verdict = decide(report_of({"base": [0.0] * 5, "candidate": [gain] * 5}), GateConfig(min_items=1))
    assert verdict.outcome == "INCONCLUSIVE"
    assert "may be luck (probability 6%)" in verdict.sentence


def test_an_engine_that_disagrees_with_transformers_is_a_warning() -> None:
    report = report_of({"base": BASE, "candidate": scores(280, of=320)})
    for same, warnings in ((32, 0), (20, 1)):
        agreement = EngineAgreement(items=32, same=same, least=0.9)
        verdict = decide(report.model_copy(update={"agreement": agreement}), GateConfig())
        assert verdict.outcome == "PASS"
        assert len(verdict.warnings) == warnings
    assert "DISAGREES with transformers: 20 of 32" in verdict.warnings[0]


def test_a_verdict_comes_back_equal_and_can_be_recomputed_from_the_report() -> None:
    report = report_of({"base": BASE, "champion": CHAMPION, "candidate": flip(CHAMPION, gained=60, lost=10)})
    verdict = decide(report, GateConfig(seed=5))
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict
    again = EvaluationReport.model_validate_json(report.model_dump_json())
    assert decide(again, GateConfig(seed=verdict.seed, resamples=verdict.resamples)) == verdict


def test_every_number_of_a_verdict_is_finite() -> None:
    for candidate in (BASE, CHAMPION, [1.0] * 320, flip(CHAMPION, gained=1)):
        for rule in _judge(candidate).rules:
            for c in rule.comparisons:
                assert all(math.isfinite(v) for v in c.model_dump().values() if isinstance(v, float))
