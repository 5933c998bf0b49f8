"""Two versions are compared on what both were asked, and nothing else."""

from __future__ import annotations

import pytest

from tests.evaluation.pages import item_of, report_with, suite_of
from tuneline.errors import UserError
from tuneline.evaluation.against import side_by_side
from tuneline.evaluation.report import EvaluationReport, Preferences


def of(scores: list[float], numbers: range, **changed: object) -> EvaluationReport:
    """A report of one version's own scores, with a base model and a champion that it was judged beside then."""
    items = [item_of(number) for number in numbers]
    others = [0.25] * len(scores)
    suite = suite_of({"base": others, "champion": others, "candidate": scores}, items=items)
    return report_with(suite, **changed)


def test_the_other_versions_own_answers_stand_in_the_champions_place() -> None:
    found = side_by_side(of([1.0, 0.5], range(2)), "5", of([0.0, 0.75], range(2)), "2")
    (suite,) = found.report.suites
    assert [(subject.role, subject.version) for subject in suite.subjects] == [
        ("base", None),
        ("champion", "2"),
        ("candidate", "5"),
    ]
    assert suite.means() == {
        "base": {"exact_match": 0.25},
        "champion": {"exact_match": 0.375},
        "candidate": {"exact_match": 0.75},
    }
    assert found.left_out == ()


def test_only_shared_questions_are_compared_item_by_item_whatever_their_order() -> None:
    newer, other = of([0.1, 0.2, 0.3], range(3)), of([0.9, 0.8, 0.7, 0.6], range(4, 0, -1))
    found = side_by_side(newer, "5", other, "2")
    (suite,) = found.report.suites
    assert [item.id for item in suite.items] == ["i1", "i2"]
    scores = {s.role: [result.scores["exact_match"] for result in s.results] for s in suite.subjects}
    assert scores == {"base": [0.25, 0.25], "champion": [0.6, 0.7], "candidate": [0.2, 0.3]}
    assert found.left_out == ("heldout: 2 of 4 questions are the same in both.",)


def test_a_version_that_was_the_champion_then_is_compared_on_all_that_both_were_asked() -> None:
    newer = of([0.1, 0.2, 0.3], range(3))
    champion = newer.suites[0].subject("champion")
    assert champion is not None and champion.version is not None
    found = side_by_side(newer, "5", of([1.0], range(9, 10)), champion.version)
    (suite,) = found.report.suites
    assert found.left_out == () and len(suite.items) == 3
    assert suite.subject("champion") == champion
    assert [subject.version for subject in suite.subjects] == [None, champion.version, "5"]


@pytest.mark.parametrize("changed", [{"question": "Another?"}, {"reference": "another"}, {"tools": ({"name": "t"},)}])
def test_the_same_id_with_another_text_answer_or_tools_is_another_question(changed: dict[str, object]) -> None:
    items = [item_of(0), item_of(1), item_of(2, **changed)]  # type: ignore[arg-type]
    other = report_with(suite_of({"candidate": [1.0] * 3}, items=items))
    found = side_by_side(of([1.0] * 3, range(3)), "5", other, "2")
    assert len(found.report.suites[0].items) == 2
    assert "1 have the same id but not the same text or right answer" in found.left_out[0]


def test_too_few_shared_questions_are_refused_with_their_number() -> None:
    with pytest.raises(UserError, match=r"versions 5 and 2 cannot be compared.*heldout: 1 of 3 questions are the same"):
        side_by_side(of([1.0] * 3, range(3)), "5", of([1.0] * 3, range(2, 5)), "2")


def test_a_suite_that_only_one_of_them_has_is_named_and_left_out() -> None:
    shared = suite_of({"candidate": [0.5, 0.5]})
    newer = report_with(shared, suite_of({"candidate": [0.5, 0.5]}, name="mine"))
    other = report_with(shared, suite_of({"candidate": [0.5, 0.5]}, name="theirs"))
    found = side_by_side(newer, "5", other, "2")
    assert [suite.name for suite in found.report.suites] == ["heldout"]
    assert found.left_out == ("mine: version 2 was not asked it.", "theirs: version 5 was not asked it.")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"kind": "judge"}, "a judge compares pairs of answers"),
        ({"kind": "latency"}, "times that were taken in different runs"),
    ],
)
def test_what_was_measured_of_a_pair_or_a_moment_is_not_carried_over(changed: dict[str, object], why: str) -> None:
    judged = Preferences(opponent="base", values=(1.0, 1.0), agreement=1.0)
    special = suite_of({"candidate": [0.5, 0.5]}, name="special", preferences=(judged,), **changed)
    report = report_with(suite_of({"candidate": [0.5, 0.5]}), special)
    found = side_by_side(report, "5", report, "2")
    assert [suite.name for suite in found.report.suites] == ["heldout"]
    assert why in found.left_out[0]


def test_only_metrics_of_both_are_kept_and_the_deciding_one_must_be_among_them() -> None:
    newer = of([1.0, 1.0], range(2))
    more = newer.model_copy(
        update={"suites": (newer.suites[0].model_copy(update={"metrics": ("exact_match", "chrf")}),)}
    )
    assert side_by_side(more, "5", newer, "2").report.suites[0].metrics == ("exact_match",)
    other = report_with(suite_of({"candidate": [1.0, 1.0]}, metric="chrf"))
    with pytest.raises(UserError, match="version 2 was not measured by exact_match"):
        side_by_side(newer, "5", other, "2")


def test_another_base_model_and_other_conditions_are_told_and_its_base_answers_left_out() -> None:
    found = side_by_side(of([1.0, 0.5], range(2)), "5", of([0.0, 0.5], range(2), base_model="big", engine="vllm"), "2")
    assert [subject.role for subject in found.report.suites[0].subjects] == ["champion", "candidate"]
    assert found.left_out == (
        "Not answered under the same conditions: base model tiny for version 5, big for version 2.",
        "Not answered under the same conditions: engine transformers for version 5, vllm for version 2.",
    )
