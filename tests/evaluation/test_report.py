"""The report keeps everything, survives being written, and reads what version 1 wrote."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.evaluation.pages import item_of, report_with, suite_of
from tuneline.evaluation.report import EvaluationReport, SuiteReport
from tuneline.release.parity import GoldenPrompt

_GOLDEN = GoldenPrompt(
    id="i0", prompt_ids=(1, 2), completion_ids=(3,), logprobs=(-0.123456789012345,), base_logprobs=(-7.5,)
)


def test_a_report_comes_back_equal_to_the_last_digit(tmp_path: Path) -> None:
    suite = suite_of({"base": [0.0, 1 / 3], "champion": [0.5, 0.1 + 0.2], "candidate": [1.0, 1.0]})
    report = report_with(suite, suite_of({"candidate": [0.1]}, name="other"), golden=(_GOLDEN,))
    report.save(tmp_path / "report.json")
    assert EvaluationReport.load(tmp_path / "report.json") == report


def test_a_score_that_is_no_number_stays_one_so_that_the_gate_sees_it() -> None:
    report = report_with(suite_of({"base": [0.0], "candidate": [math.nan]}))
    subject = EvaluationReport.model_validate_json(report.model_dump_json()).lead.subject("candidate")
    assert subject is not None
    assert math.isnan(subject.results[0].scores["exact_match"])


def test_what_version_1_wrote_is_read_as_one_suite() -> None:
    report = report_with(suite_of({"base": [0.0], "candidate": [1.0]}))
    document = json.loads(report.model_dump_json())
    (suite,) = document.pop("suites")
    old = document | {"schema_version": 1} | {key: suite[key] for key in ("primary", "metrics", "items", "subjects")}
    assert EvaluationReport.model_validate_json(json.dumps(old)) == report


def test_means_are_per_subject() -> None:
    items = [item_of(place, source=source) for place, source in enumerate(["git", "helm", "git"])]
    suite = suite_of({"base": [0, 0, 1], "candidate": [1, 0, 1]}, items=items)
    assert suite.means() == {
        "base": {"exact_match": pytest.approx(1 / 3)},
        "candidate": {"exact_match": pytest.approx(2 / 3)},
    }
    assert suite.subject("champion") is None
    with pytest.raises(KeyError):
        suite.mean("champion", "exact_match")


def test_the_first_target_leads_and_the_others_scores_carry_their_suites_name() -> None:
    guard = suite_of({"candidate": [0.5]}, name="wide", metric="chrf", role="guard")
    report = report_with(guard, suite_of({"candidate": [1.0]}))
    assert report.lead.name == "heldout"
    assert report.scores("candidate") == {"wide/chrf": 0.5, "exact_match": 1.0}


def test_a_role_cannot_be_asked_twice_the_leading_metric_must_exist_and_suites_have_names_of_their_own() -> None:
    suite = suite_of({"base": [0.0], "candidate": [1.0]})
    with pytest.raises(ValidationError, match="not all different"):
        SuiteReport(**{**dict(suite), "subjects": suite.subjects * 2})
    with pytest.raises(ValidationError, match="primary metric 'chrf'"):
        SuiteReport(**{**dict(suite), "primary": "chrf"})
    with pytest.raises(ValidationError, match="not all different"):
        report_with(suite, suite)
