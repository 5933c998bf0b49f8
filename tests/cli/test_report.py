"""``run.py report`` finds a version's report and verdict, writes their page, and says what is in it."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from tests.cli.conftest import Run
from tests.evaluation.pages import Page, comparison_of, item_of, report_with, rule_of, suite_of, verdict_of
from tuneline.evaluation.report import EvaluationReport
from tuneline.gate.verdict import Verdict
from tuneline.paths import report_file

if TYPE_CHECKING:
    from zenml.client import Client

pytestmark = pytest.mark.zenml

Refused = Callable[..., str]


def scored(*scores: float, first: int = 0) -> EvaluationReport:
    """The report of a version with these scores on questions from ``first`` on."""
    items = [item_of(first + place) for place in range(len(scores))]
    return report_with(suite_of({"base": [0.0] * len(scores), "candidate": list(scores)}, items=items))


def made(report: EvaluationReport, verdict: Verdict | None = None) -> str:
    """Register a version with its report and verdict; its name."""
    from zenml import save_artifact

    from controlplane.versions import register
    from materializers.evaluation_report import EvaluationReportMaterializer
    from materializers.verdict import VerdictMaterializer
    from tests.controlplane.registered import record_of
    from tuneline.config import load_config

    kept = {"report": save_artifact(report, "report", materializer=EvaluationReportMaterializer).id}
    if verdict is not None:
        kept["verdict"] = save_artifact(verdict, "verdict", materializer=VerdictMaterializer).id
    said = {"outcome": verdict.outcome, "sentence": verdict.sentence} if verdict is not None else {}
    return register(load_config("configs/tiny.yaml", []).name, record_of(**kept, **said), []).name


@pytest.fixture
def model(zenml_client: Client) -> str:
    """The model of the shipped config."""
    from tuneline.config import load_config

    return load_config("configs/tiny.yaml", []).name


def test_the_newest_version_is_shown_with_its_verdict_and_scores_and_where_its_page_is(run: Run, model: str) -> None:
    made(scored(0.0, 0.0))
    verdict = verdict_of(rule_of(comparison_of(opponent="base", opponent_version=None)), warnings=("Look out.",))
    name = made(scored(1.0, 0.5), verdict)
    ended = run("report")
    assert (ended.code, ended.err) == (0, "")
    path = report_file(model, name)
    for words in (f"{model} version 2: PASS", verdict.sentence, "Look out.", "heldout", "75.0", "+20.0", str(path)):
        assert words in ended.out
    page = Page(path.read_text())
    assert page.text.index("✓ PASS") < page.text.index("Scores, points")


def test_a_version_whose_verdict_was_not_kept_shows_what_its_record_says(run: Run, model: str) -> None:
    made(scored(1.0, 0.5))
    ended = run("report", "1")
    assert (ended.code, ended.err) == (0, "")
    assert "PASS" in ended.out and "It is better than the base model." in ended.out
    assert "PASS: It is better than the base model." in Page(report_file(model, "1").read_text()).text


def test_the_page_goes_where_it_is_wanted_and_is_opened_if_asked(
    run: Run, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(scored(1.0))
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: bool(opened.append(url)))
    target = tmp_path / "a page.html"
    ended = run("report", "1", "--output", str(target), "--open")
    assert (ended.code, opened) == (0, [target.as_uri()])
    assert "There is no browser here" in ended.out  # what the stand-in said
    assert target.exists() and not report_file(model, "1").exists()


def test_two_versions_are_compared_by_the_configs_gate_on_what_both_were_asked(run: Run, model: str) -> None:
    made(scored(0.0, 0.5, 0.5))
    made(scored(1.0, 1.0, first=1))
    ended = run("report", "2", "--against", "1", "--set", "gate.min_items=7")
    assert (ended.code, ended.err) == (0, "")
    text = Page(report_file(model, "2", "1").read_text()).text
    for said in (" ".join(ended.out.split()), text):
        assert "INCONCLUSIVE" in said and "at least 7" in said
        assert "A comparison, which moves nothing" in said
        assert "2 of 3 questions are the same in both" in said
    assert "against the champion (version 1) +50.0" in text
    assert "against the base model" not in text  # who has to be beaten is the other version


def test_versions_that_were_asked_different_questions_are_not_compared(run: Run, refused: Refused, model: str) -> None:
    made(scored(0.0, 0.5))
    made(scored(1.0, 1.0, first=10))
    said = refused("report", "2", "--against", "1")
    assert "heldout: 0 of 2 questions are the same in both" in said
    assert not report_file(model, "2", "1").exists()


def test_what_cannot_be_reported_is_refused(refused: Refused, model: str, tmp_path: Path) -> None:
    assert "has no versions yet" in refused("report")
    made(scored(1.0))
    assert "cannot be compared with itself" in refused("report", "1", "--against", "1")
    assert "has no version '7'" in refused("report", "7")
    assert "has no version '7'" in refused("report", "--against", "7")
    assert "is a folder" in refused("report", "--output", str(tmp_path))
    assert "a folder that does not exist" in refused("report", "--output", str(tmp_path / "no" / "page.html"))


def test_a_report_that_was_deleted_is_named(run: Run, model: str) -> None:
    from controlplane.versions import register
    from tests.controlplane.registered import record_of

    register(model, record_of(report=UUID(int=9)), [])
    ended = run("report", "1")
    assert ended.code == 1
    assert f"the report of '{model}' version 1 is no longer in ZenML" in ended.err
