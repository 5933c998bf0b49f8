"""The report keeps everything, survives being written, and draws a page that shows the worst first."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.evaluation.reports import report_of
from tuneline.evaluation.report import EvaluationReport
from tuneline.evaluation.report_html import to_html
from tuneline.release.parity import GoldenPrompt

_GOLDEN = GoldenPrompt(
    id="i0", prompt_ids=(1, 2), completion_ids=(3,), logprobs=(-0.123456789012345,), base_logprobs=(-7.5,)
)


def test_a_report_comes_back_equal_to_the_last_digit(tmp_path: Path) -> None:
    report = report_of({"base": [0.0, 1 / 3], "champion": [0.5, 0.1 + 0.2], "candidate": [1.0, 1.0]})
    report = report.model_copy(update={"golden": (_GOLDEN,)})
    report.save(tmp_path / "report.json")
    assert EvaluationReport.load(tmp_path / "report.json") == report


def test_a_score_that_is_no_number_stays_one_so_that_the_gate_sees_it() -> None:
    report = report_of({"base": [0.0], "candidate": [math.nan]})
    again = EvaluationReport.model_validate_json(report.model_dump_json())
    subject = again.subject("candidate")
    assert subject is not None
    assert math.isnan(subject.results[0].scores["exact_match"])


def test_means_are_per_subject_and_per_source() -> None:
    report = report_of({"base": [0, 0, 1], "candidate": [1, 0, 1]}, sources=["git", "helm", "git"])
    assert report.means() == {
        "base": {"exact_match": pytest.approx(1 / 3)},
        "candidate": {"exact_match": pytest.approx(2 / 3)},
    }
    rows = [
        (row.source, row.items, row.means["base"], row.means["candidate"]) for row in report.by_source("exact_match")
    ]
    assert rows == [("git", 2, 0.5, 1.0), ("helm", 1, 0.0, 0.0)]
    assert report.subject("champion") is None
    with pytest.raises(KeyError):
        report.mean("champion", "exact_match")


def test_a_role_cannot_be_asked_twice_and_the_leading_metric_must_exist() -> None:
    report = report_of({"base": [0.0], "candidate": [1.0]})
    with pytest.raises(ValidationError, match="not all different"):
        EvaluationReport(**{**dict(report), "subjects": report.subjects * 2})
    with pytest.raises(ValidationError, match="primary metric 'chrf'"):
        EvaluationReport(**{**dict(report), "primary": "chrf"})


def test_the_page_lists_regressions_against_the_champion_worst_first_and_before_gains() -> None:
    report = report_of({"base": [0, 0, 0, 0], "champion": [0.9, 1, 0, 1], "candidate": [0.8, 0, 1, 1]})
    html = to_html(report)
    assert "Worse than champion (version 3): 2" in html
    assert "Better than champion (version 3): 1" in html
    places = [html.index(f'<p class="q">Question {n}?') for n in (1, 0, 2)]
    assert places == sorted(places)


def test_the_page_compares_with_the_base_model_where_there_is_no_champion() -> None:
    html = to_html(report_of({"base": [1, 0], "candidate": [0, 1]}))
    assert "Worse than base: 1" in html


def test_the_page_shows_answers_as_text_and_stands_alone() -> None:
    report = report_of({"base": [0, 1], "candidate": [1, 0]}, sources=["<i>a</i>", "b"])
    document = report.model_dump()
    for subject in document["subjects"]:
        for result in subject["results"]:
            result["completion"] = "<script>alert('x')</script> & \"quotes\""
            result["finished"] = False
    document["items"][0]["messages"][0]["content"] = "</p><img src=x onerror=alert(1)>"
    document["items"][0]["reference"] = "<b>"
    html = to_html(EvaluationReport.model_validate(document))
    assert not re.search(r"<(script|img|link|iframe)|https?://|url\(", html)
    assert "&lt;script&gt;" in html
    assert "cut off" in html
