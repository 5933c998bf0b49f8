"""From suites in the config to items, and what is refused on the way."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tuneline.config import (
    DataConfig,
    EvaluationConfig,
    EvaluationData,
    FileSource,
    GateConfig,
    HeldoutSuite,
    LatencySuite,
    PromptsSuite,
    QuestionsSuite,
    SyntheticSource,
)
from tuneline.data.load import load_sets
from tuneline.errors import UserError
from tuneline.evaluation.report import EvaluationItem
from tuneline.evaluation.suites.items import check_sizes, load_suites
from tuneline.paths import REPO

DATA = DataConfig(
    sources=(SyntheticSource(type="synthetic", tools=("git", "helm"), size=40),),
    evaluation=EvaluationData(
        sources=(SyntheticSource(type="synthetic", tools=("git", "helm"), size=20, split="eval"),)
    ),
)


def _load(*suites: Any, metrics: tuple[str, ...] = ("exact_match",)) -> dict[str, tuple[EvaluationItem, ...]]:
    training, asked = load_sets(DATA)
    return load_suites(EvaluationConfig(suites=suites, metrics=metrics), DATA, training, asked)


def _prompts(folder: Path, *rows: object, **settings: Any) -> PromptsSuite:
    path = folder / "prompts.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return PromptsSuite(type="prompts", name="smoke", path=str(path), **settings)


def _refused(*suites: Any) -> str:
    with pytest.raises(UserError) as caught:
        _load(*suites)
    return str(caught.value)


def test_heldout_suites_are_the_evaluation_set_or_a_part_of_it() -> None:
    whole, part = (
        HeldoutSuite(type="heldout", name="all", role="target"),
        HeldoutSuite(type="heldout", name="git", only="git/*"),
    )
    suites = _load(whole, part)
    _, asked = load_sets(DATA)
    assert [item.reference for item in suites["all"]] == [record.reference for record in asked.records]
    assert {item.source.split("/")[0] for item in suites["git"]} == {"git"}
    assert 0 < len(suites["git"]) < len(suites["all"])


def test_a_heldout_suite_that_matches_nothing_is_refused_with_what_there_is() -> None:
    said = _refused(HeldoutSuite(type="heldout", name="docker", only="docker/*"))
    assert "'docker' has no questions" in said
    assert "there are " in said
    assert "git/" in said


def test_questions_come_from_any_source_once_each(tmp_path: Path) -> None:
    row = {"question": "What is 6 * 7?", "answer": "42"}
    (tmp_path / "math.json").write_text(json.dumps([row, row, {"question": "2 + 2?", "answer": "4"}]))
    columns: Any = {"instruction": "question", "output": "answer"}
    source = FileSource(type="file", path=str(tmp_path / "math.json"), columns=columns)
    suites = _load(QuestionsSuite(type="questions", name="math", sources=(source,)))
    assert [item.reference for item in suites["math"]] == ["42", "4"]


def test_a_row_of_a_prompts_file_becomes_an_item_with_all_that_it_says(tmp_path: Path) -> None:
    tool = {"type": "function", "function": {"name": "add"}}
    suite = _prompts(
        tmp_path,
        {"prompt": "Show branches", "system": "Be brief.", "contains": "git", "intent": "git"},
        "",
        {
            "messages": [
                {"role": "user", "content": "2 + 2?"},
                {"role": "assistant", "content": "4"},
                {"role": "user", "content": "6 * 7?"},
            ],
            "reference": "42",
            "checks": [{"number": 42}],
            "tools": [tool],
            "id": "product",
        },
    )
    first, second = _load(suite)["smoke"]
    assert (first.id, first.source, first.reference) == ("smoke:1", "git", "")
    assert [(m.role, m.content) for m in first.messages] == [("system", "Be brief."), ("user", "Show branches")]
    assert (second.id, second.source, second.reference) == ("product", "smoke", "42")
    assert [m.content for m in second.messages] == ["2 + 2?", "4", "6 * 7?"]
    assert second.tools == (tool,)
    assert [check.kind for check in second.checks] == ["number"]


def test_every_broken_row_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    said = _refused(
        _prompts(
            tmp_path,
            {"prompt": "fine", "contains": "a"},
            "{not json",
            "[1]",
            {"promt": "a"},
            {"prompt": "nothing checked"},
            {"prompt": 3, "contains": "a"},
            {"prompt": "bad pattern", "regex": "("},
            {"messages": [{"role": "assistant", "content": "a"}], "contains": "a"},
            {"contains": "a"},
            {"prompt": " ", "contains": "a"},
            {"messages": [{"role": "robot", "content": "a"}], "contains": "a"},
        )
    )
    assert "prompts.jsonl: 10 rows of the suite 'smoke' cannot be used" in said
    for line, reason in (
        (2, "broken JSON at column 2"),
        (3, "[1] is no object with keys"),
        (4, "unknown key 'promt'; did you mean prompt?"),
        (5, "there is no check, which the metric check needs"),
        (6, "prompt is 3, not a text"),
        (7, 'regex "(" is no regular expression'),
        (8, "messages ends with an answer, which belongs under reference"),
        (9, "it needs either prompt or messages"),
        (10, "turn 1 is empty"),
        (11, "turn 1 is spoken by 'robot'"),
    ):
        assert f"line {line}: {reason}" in said


def test_no_more_than_ten_broken_rows_are_listed(tmp_path: Path) -> None:
    said = _refused(_prompts(tmp_path, *["x"] * 13))
    assert "13 rows" in said
    assert "line 10:" in said
    assert "line 11:" not in said
    assert "and 3 more" in said


@pytest.mark.parametrize("metric", ["exact_match", "perplexity", "mine.py"])
def test_a_metric_that_needs_a_reference_is_told_the_line_without_one(tmp_path: Path, metric: str) -> None:
    suite = _prompts(
        tmp_path, {"prompt": "a", "reference": "b"}, {"prompt": "c", "contains": "d"}, metrics=("length", metric)
    )
    said = _refused(suite)
    assert f"line 2: there is no reference, which the metric {metric} needs" in said
    assert "line 1" not in said


def test_a_prompt_and_an_id_are_asked_once(tmp_path: Path) -> None:
    said = _refused(
        _prompts(
            tmp_path,
            {"prompt": "a", "contains": "x", "id": "1"},
            {"prompt": " a\n", "contains": "y"},
            {"prompt": "b", "contains": "x", "id": "1"},
        )
    )
    assert "line 2: the prompt is that of line 1 again" in said
    assert "line 3: the id '1' is that of line 1 again" in said


def test_files_without_rows_of_other_bytes_and_that_are_gone_are_refused(tmp_path: Path) -> None:
    assert "has no prompts" in _refused(_prompts(tmp_path, "", ""))
    gone = _prompts(tmp_path)
    Path(gone.path).write_bytes(b"{}\n\xff")
    assert "line 2: byte 0xff is not UTF-8" in _refused(gone)
    Path(gone.path).unlink()
    assert "cannot be read: No such file" in _refused(gone)


def test_a_prompt_that_is_trained_on_is_refused_in_any_suite(tmp_path: Path) -> None:
    training, _ = load_sets(DATA)
    leaked = training.records[3]
    said = _refused(
        _prompts(
            tmp_path, {"prompt": "new", "contains": "a"}, {"prompt": leaked.prompt[-1].content.upper(), "contains": "a"}
        )
    )
    assert "1 of 2 prompts of the suite 'smoke' also occur in the training data" in said
    assert f"smoke:2 = {leaked.id}" in said
    source = SyntheticSource(type="synthetic", tools=("git", "helm"), size=5)
    assert "the suite 'old'" in _refused(QuestionsSuite(type="questions", name="old", sources=(source,)))


def test_suites_that_decide_and_are_too_small_for_a_verdict_are_refused_together(tmp_path: Path) -> None:
    heldout = HeldoutSuite(type="heldout", name="all", role="target")
    clock: dict[str, Any] = {"type": "latency", "questions": "all", "limit": 15}
    suites = (
        heldout,
        _prompts(tmp_path, {"prompt": "a", "contains": "b"}, role="guard"),
        LatencySuite(name="clock", role="guard", **clock),
        LatencySuite(name="shown", role="report", **clock),
    )
    evaluation = EvaluationConfig(suites=suites)
    found = _load(*suites)
    with pytest.raises(UserError) as caught:
        check_sizes(found, evaluation, GateConfig(min_items=20))
    assert "smoke (guard) has 1 of 20, clock (guard) has 15 of 20 that it needs" in str(caught.value)
    check_sizes(found, EvaluationConfig(suites=(heldout,)), GateConfig(min_items=20))


def test_a_suites_own_number_of_questions_comes_before_the_gates(tmp_path: Path) -> None:
    suite = _prompts(tmp_path, {"prompt": "a", "contains": "b"}, role="guard", min_items=1)
    check_sizes(_load(suite), EvaluationConfig(suites=(suite,)), GateConfig(min_items=20))


def test_suites_are_read_without_torch() -> None:
    code = "import sys, tuneline.evaluation.suites.items; print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
