"""Whatever is missing, refused, cut off or no number fails closed, and the sentence names it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.evaluation.reports import judged, report_of, report_with, suite_of
from tests.gate.scores import BASE, CHAMPION, scores
from tuneline.config import GateConfig
from tuneline.evaluation.report import EvaluationReport, ItemResult, Role, SubjectResult, SuiteReport
from tuneline.gate.decide import decide

GOOD = suite_of({"base": BASE, "champion": CHAMPION, "candidate": scores(300, of=320)})


def _altered(role: Role, suite: SuiteReport = GOOD, **change: Any) -> SuiteReport:
    subjects = [s.model_copy(update=change) if s.role == role else s for s in suite.subjects]
    return suite.model_copy(update={"subjects": tuple(subjects)})


def _results(role: Role, suite: SuiteReport = GOOD) -> list[ItemResult]:
    subject = suite.subject(role)
    assert isinstance(subject, SubjectResult)
    return list(subject.results)


def _with_item(role: Role, suite: SuiteReport = GOOD, place: int = 7, **change: Any) -> SuiteReport:
    results = _results(role, suite)
    results[place] = results[place].model_copy(update=change)
    return _altered(role, suite, results=tuple(results))


def _twice() -> SuiteReport:
    items = list(GOOD.items)
    items[8] = items[7]
    return GOOD.model_copy(update={"items": tuple(items)})


_JUDGED = judged({"base": [1.0] * 100, "champion": [1.0] * 100}, role="target")


def _judged_with(**change: Any) -> SuiteReport:
    over_base, over_champion = _JUDGED.preferences
    changed = over_champion.model_copy(update=change)
    return _JUDGED.model_copy(update={"preferences": (over_base, changed)})


_BROKEN: dict[str, tuple[SuiteReport, str]] = {
    "a score that is no number": (
        _with_item("candidate", scores={"exact_match": math.nan}),
        "item 'i7' of the candidate has the score nan for exact_match",
    ),
    "an infinite score": (
        _with_item("champion", scores={"exact_match": math.inf}),
        "item 'i7' of the champion has the score inf",
    ),
    "a cut off answer whose score is no number": (
        _with_item("candidate", scores={"exact_match": math.nan}, finished=False),
        "item 'i7' of the candidate has the score nan",
    ),
    "a missing score": (
        _with_item("base", scores={"chrf": 1.0}),
        "item 'i7' of the base has no score for exact_match",
    ),
    "a refused question": (
        _with_item("candidate", error="the prompt is too long"),
        "item 'i7' was not answered by the candidate (the prompt is too long)",
    ),
    "an opponent's refused question": (
        _with_item("champion", error="503"),
        "item 'i7' was not answered by the champion (503)",
    ),
    "a missing answer": (
        _altered("candidate", results=tuple(_results("candidate")[:-1])),
        "the candidate answered 319 of 320 items, and not 'i319'",
    ),
    "no answers": (_altered("champion", results=()), "the champion answered 0 of 320 items"),
    "answers in another order": (
        _altered("candidate", results=tuple(reversed(_results("candidate")))),
        "the candidate's items differ from those asked, first at 'i319'",
    ),
    "an answer twice": (
        _altered("candidate", results=(*_results("candidate"), _results("candidate")[0])),
        "the candidate's items differ from those asked, first at 'i0'",
    ),
    "a question twice": (_twice(), "item 'i7' occurs twice"),
    "no base model": (suite_of({"champion": CHAMPION, "candidate": [1.0] * 320}), "the base was not evaluated"),
    "no candidate": (suite_of({"base": BASE, "champion": CHAMPION}), "the candidate was not evaluated"),
    "one question": (suite_of({"base": [0.0], "candidate": [1.0]}), "there are 1 items"),
    "no question": (
        suite_of({"base": [0.0], "candidate": [1.0]}).model_copy(update={"items": ()}),
        "there are 0 items",
    ),
    "a judge without an answer": (
        _judged_with(values=(*[1.0] * 99, math.nan)),
        "the judge gave no usable answer on item 'i99' against the champion",
    ),
    "a judge that stopped": (_judged_with(values=(1.0,) * 60), "the judge compared 60 of 100 answers"),
    "a judge that was not asked": (
        _JUDGED.model_copy(update={"preferences": _JUDGED.preferences[:1]}),
        "no judge compared the candidate with the champion",
    ),
    "shares of nothing": (
        suite_of({"base": [0.0] * 60, "candidate": [1.0] * 60}, metric="length"),
        "the base's mean answer length is 0.0, which has no shares",
    ),
}


@pytest.mark.parametrize("name", _BROKEN)
def test_a_broken_evaluation_fails_and_says_what_is_broken(name: str) -> None:
    suite, what = _BROKEN[name]
    verdict = decide(report_with(suite), GateConfig())
    assert verdict.outcome == "FAIL"
    assert verdict.sentence.startswith("The evaluation is broken and proves nothing: ")
    assert what in verdict.sentence
    (rule,) = verdict.rules
    assert rule.comparisons == ()
    assert (rule.p_value, rule.adjusted_p) == (1.0, 1.0)


@pytest.mark.parametrize("targets", ["all", "any"])
def test_a_broken_guard_or_second_target_fails_too_and_is_named(targets: Any) -> None:
    rules = GateConfig(targets=targets)
    for role in ("guard", "target"):
        second = _with_item(
            "candidate", GOOD.model_copy(update={"name": "safety", "role": role}), scores={"exact_match": math.nan}
        )
        verdict = decide(report_with(GOOD, second), rules)
        assert [rule.outcome for rule in verdict.rules] == ["PASS", "FAIL"]
        assert verdict.outcome == "FAIL"
        assert verdict.sentence.startswith("The evaluation is broken and proves nothing: on safety, item 'i7'")


def test_a_report_without_a_target_fails() -> None:
    for role in ("guard", "report"):
        verdict = decide(report_with(GOOD.model_copy(update={"role": role})), GateConfig())
        assert verdict.outcome == "FAIL"
        assert "no suite has the role of a target" in verdict.sentence
        assert verdict.rules == ()


def test_what_is_only_reported_decides_nothing_even_if_it_is_broken() -> None:
    shown = suite_of({"base": [math.nan]}, "shown", role="report")
    verdict = decide(report_with(GOOD, shown), GateConfig())
    assert verdict.outcome == "PASS"
    assert [rule.suite for rule in verdict.rules] == ["heldout"]


def test_a_guard_must_know_the_champion_if_any_suite_does() -> None:
    guard = suite_of({"base": BASE, "candidate": CHAMPION}, "safety", role="guard")
    verdict = decide(report_with(GOOD, guard), GateConfig())
    assert verdict.outcome == "FAIL"
    assert "on safety, the champion was not evaluated" in verdict.sentence


def _cut(report: EvaluationReport, role: Role, share: int) -> EvaluationReport:
    (suite,) = report.suites
    for place in range(0, len(suite.items), share):
        suite = _with_item(role, suite, place, finished=False)
    return report_with(suite)


def test_cut_off_answers_of_the_candidate_count_as_wrong_and_are_told() -> None:
    report = report_of({"base": BASE, "champion": CHAMPION, "candidate": [1.0] * 320})
    assert decide(report, GateConfig()).outcome == "PASS"
    verdict = decide(_cut(report, "candidate", 2), GateConfig())
    assert verdict.outcome == "FAIL"
    (rule,) = verdict.rules
    assert rule.truncated == 160
    assert rule.comparisons[1].candidate_mean == 0.5
    assert "160 of its answers were cut off and count as wrong." in verdict.sentence
    one = decide(_cut(report, "candidate", 320), GateConfig())
    assert one.outcome == "PASS"
    assert "1 of its answers was cut off and counts as wrong." in one.sentence


def test_cut_off_answers_of_an_opponent_help_nobody() -> None:
    report = report_of({"base": BASE, "champion": CHAMPION, "candidate": CHAMPION})
    verdict = decide(_cut(report, "champion", 2), GateConfig())
    assert verdict.outcome == "FAIL"
    assert verdict.rules[0].truncated == 0


def test_perplexity_does_not_mind_an_answer_that_was_cut_off() -> None:
    suite = suite_of({"base": [2.0 + n % 3 for n in range(60)], "candidate": [1.0] * 60}, metric="perplexity")
    verdict = decide(_cut(report_with(suite), "candidate", 2), GateConfig())
    assert verdict.outcome == "PASS"
    assert verdict.rules[0].truncated == 0
