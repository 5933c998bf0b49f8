"""Only what is proven better passes. A tie, luck and a broken evaluation do not."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from tests.evaluation.reports import report_of
from tuneline.evaluation.report import EvaluationReport, ItemResult, SubjectResult
from tuneline.gate.decide import decide
from tuneline.gate.verdict import Verdict
from tuneline.gate.verdict_html import to_html


def _scores(right: int, of: int, seed: int = 0) -> list[float]:
    values = [1.0] * right + [0.0] * (of - right)
    random.Random(seed).shuffle(values)
    return values


def _flip(values: list[float], *, gained: int = 0, lost: int = 0) -> list[float]:
    """The same scores with some wrong answers made right and some right ones wrong."""
    out = list(values)
    for place in [n for n, value in enumerate(values) if value == 0][:gained]:
        out[place] = 1.0
    for place in [n for n, value in enumerate(values) if value == 1][:lost]:
        out[place] = 0.0
    return out


CHAMPION = _scores(200, of=320)
BASE = [0.0] * 320


def _judge(candidate: list[float], **how: Any) -> Verdict:
    return decide(report_of({"base": BASE, "champion": CHAMPION, "candidate": candidate}), **how)


def test_a_candidate_better_than_everyone_passes() -> None:
    verdict = _judge(_flip(CHAMPION, gained=60, lost=10))
    assert verdict.outcome == "PASS"
    assert verdict.passed
    base, champion = verdict.comparisons
    assert (champion.wins, champion.losses, champion.ties) == (60, 10, 250)
    assert champion.difference == pytest.approx(50 / 320)
    assert champion.low > 0
    assert base.opponent == "base"
    assert "proven better" in verdict.sentence
    assert "the champion (version 3)" in verdict.sentence
    assert "78.1 against 62.5 of 100 points of exact match on 320 questions, +15.6" in verdict.sentence


def test_a_first_candidate_has_only_the_base_model_to_beat() -> None:
    verdict = decide(report_of({"base": BASE, "candidate": _scores(280, of=320)}))
    assert verdict.outcome == "PASS"
    assert [c.opponent for c in verdict.comparisons] == ["base"]
    only_champion = decide(report_of({"base": BASE, "candidate": BASE}), must_beat=("champion",))
    assert [c.opponent for c in only_champion.comparisons] == ["base"]
    assert only_champion.outcome == "FAIL"


def test_an_identical_candidate_fails_as_nothing_was_gained() -> None:
    verdict = _judge(CHAMPION)
    assert verdict.outcome == "FAIL"
    assert "On none of the 320 questions" in verdict.sentence
    assert "nothing was gained" in verdict.sentence


def test_a_candidate_that_never_learnt_anything_fails_against_the_base_model() -> None:
    verdict = decide(report_of({"base": BASE, "candidate": BASE}))
    assert verdict.outcome == "FAIL"
    assert "the base model" in verdict.sentence


def test_a_worse_candidate_fails_even_if_that_could_be_chance() -> None:
    clearly = _judge(_flip(CHAMPION, gained=5, lost=60))
    barely = _judge(_flip(CHAMPION, gained=10, lost=11))
    assert clearly.outcome == barely.outcome == "FAIL"
    assert "It is worse than the champion" in clearly.sentence
    assert "It did worse than the champion" in barely.sentence
    assert barely.comparisons[1].high > 0


@pytest.mark.parametrize(("gained", "lost"), [(3, 0), (5, 0), (20, 12), (10, 10)])
def test_a_gain_that_may_be_luck_is_inconclusive(gained: int, lost: int) -> None:
    verdict = _judge(_flip(CHAMPION, gained=gained, lost=lost))
    assert verdict.outcome == "INCONCLUSIVE"
    assert not verdict.passed
    assert "It is not known whether it is better than the champion" in verdict.sentence
    assert "the base model" not in verdict.sentence.split("champion")[0]


def test_three_items_of_luck_do_not_pass_although_their_bootstrap_interval_lies_above_zero() -> None:
    verdict = _judge(_flip(CHAMPION, gained=3))
    assert verdict.comparisons[1].low > 0
    assert "may be luck (probability 25%)" in verdict.sentence


def test_three_lucky_items_of_a_graded_metric_do_not_pass_either() -> None:
    champion = [0.5] * 320
    candidate = [0.9] * 3 + champion[3:]
    verdict = decide(report_of({"base": BASE, "champion": champion, "candidate": candidate}))
    assert verdict.outcome == "INCONCLUSIVE"
    many = [value + random.Random(n).gauss(0.05, 0.2) for n, value in enumerate(champion)]
    assert decide(report_of({"base": BASE, "champion": champion, "candidate": many})).outcome == "PASS"


def test_the_worst_comparison_is_the_verdict() -> None:
    report = report_of({"base": CHAMPION, "champion": BASE, "candidate": CHAMPION})
    verdict = decide(report)
    assert [c.outcome for c in verdict.comparisons] == ["FAIL", "PASS"]
    assert verdict.outcome == "FAIL"
    assert decide(report, must_beat=("champion",)).outcome == "PASS"


def test_a_wanted_difference_must_be_exceeded_by_the_whole_interval() -> None:
    candidate = _flip(CHAMPION, gained=60, lost=10)
    assert _judge(candidate, min_difference=0.05).outcome == "PASS"
    assert _judge(candidate, min_difference=0.15).outcome == "INCONCLUSIVE"
    failed = _judge(candidate, min_difference=0.5)
    assert failed.outcome == "FAIL"
    assert "not better than the champion (version 3) by more than 50.0 points" in failed.sentence


def test_too_few_questions_decide_nothing_whatever_they_say() -> None:
    verdict = decide(report_of({"base": [0.0] * 5, "candidate": [1.0] * 5}), min_items=50)
    assert verdict.outcome == "INCONCLUSIVE"
    assert verdict.sentence.startswith("Only 5 questions were asked and at least 50 are needed")


def _altered(role: str, **change: Any) -> EvaluationReport:
    report = report_of({"base": BASE, "champion": CHAMPION, "candidate": _scores(300, of=320)})
    subjects = [s.model_copy(update=change) if s.role == role else s for s in report.subjects]
    return report.model_copy(update={"subjects": tuple(subjects)})


def _results(role: str) -> list[ItemResult]:
    subject = _altered("nobody").subject(role)  # type: ignore[arg-type]
    assert isinstance(subject, SubjectResult)
    return list(subject.results)


def _rescored(role: str, scores: dict[str, float]) -> EvaluationReport:
    results = _results(role)
    results[7] = results[7].model_copy(update={"scores": scores})
    return _altered(role, results=tuple(results))


_BROKEN = {
    "a score that is no number": (
        _rescored("candidate", {"exact_match": math.nan}),
        "'i7' of the candidate has the score nan",
    ),
    "an infinite score": (_rescored("champion", {"exact_match": math.inf}), "'i7' of the champion has the score inf"),
    "a missing score": (_rescored("base", {"chrf": 1.0}), "'i7' of the base has no score for exact_match"),
    "a missing answer": (_altered("candidate", results=tuple(_results("candidate")[:-1])), "answered 319 of 320 items"),
    "no answers": (_altered("champion", results=()), "the champion answered 0 of 320 items"),
    "answers in another order": (
        _altered("candidate", results=tuple(reversed(_results("candidate")))),
        "the candidate's items differ",
    ),
    "an answer twice": (
        _altered("candidate", results=(*_results("candidate"), _results("candidate")[0])),
        "the candidate's items differ",
    ),
    "no base model": (report_of({"champion": CHAMPION, "candidate": [1.0] * 320}), "the base was not evaluated"),
    "no candidate": (report_of({"base": BASE, "champion": CHAMPION}), "the candidate was not evaluated"),
    "one question": (report_of({"base": [0.0], "candidate": [1.0]}), "there are 1 items"),
}


@pytest.mark.parametrize("name", _BROKEN)
def test_a_broken_evaluation_fails_and_says_what_is_broken(name: str) -> None:
    report, what = _BROKEN[name]
    verdict = decide(report)
    assert verdict.outcome == "FAIL"
    assert verdict.sentence.startswith("The evaluation is broken and proves nothing: ")
    assert what in verdict.sentence
    assert verdict.comparisons == ()


def test_an_unknown_metric_and_nobody_to_beat_fail_too() -> None:
    assert decide(_altered("nobody"), metric="chrf").outcome == "FAIL"
    assert decide(_altered("nobody"), must_beat=()).outcome == "FAIL"


def test_a_verdict_comes_back_equal_and_can_be_recomputed_from_the_report() -> None:
    report = report_of({"base": BASE, "champion": CHAMPION, "candidate": _flip(CHAMPION, gained=60, lost=10)})
    verdict = decide(report, seed=5)
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict
    again = EvaluationReport.model_validate_json(report.model_dump_json())
    assert decide(again, seed=verdict.seed, resamples=verdict.resamples) == verdict


@pytest.mark.parametrize("candidate", [CHAMPION, _flip(CHAMPION, gained=60), _flip(CHAMPION, gained=3)])
def test_the_page_shows_outcome_sentence_and_every_interval_and_stands_alone(candidate: list[float]) -> None:
    verdict = _judge(candidate, min_difference=0.02)
    html = to_html(verdict)
    assert f"Verdict: {verdict.outcome}" in html
    assert html.count("<circle") == 2
    assert "must exceed 2" in html
    assert "http" not in html


def test_the_page_of_a_broken_evaluation_shows_the_reason_as_text() -> None:
    report = report_of({"base": BASE, "candidate": CHAMPION})
    items = tuple(item.model_copy(update={"id": "<script>"}) for item in report.items)
    subjects = tuple(
        s.model_copy(update={"results": tuple(r.model_copy(update={"id": "<script>"}) for r in s.results)})
        for s in report.subjects
    )
    html = to_html(decide(report.model_copy(update={"items": items, "subjects": subjects})))
    assert "an item occurs twice" in html
    assert "<script" not in html
