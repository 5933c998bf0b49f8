"""What docs/evaluation.md shows is what is taken."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from pydantic import TypeAdapter

from tuneline import paths
from tuneline.config import EvaluationConfig, GateConfig
from tuneline.config.metrics import NAMED
from tuneline.evaluation.suites.prompts import read_prompts

PAGE = (paths.REPO / "docs" / "evaluation.md").read_text()


def _block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def test_the_suites_shown_are_valid() -> None:
    shown = yaml.safe_load(_block("yaml"))
    evaluation = TypeAdapter(EvaluationConfig).validate_python(
        shown["evaluation"] | {"suites": tuple(shown["evaluation"]["suites"])}
    )
    assert {suite.type for suite in evaluation.suites} == {
        "heldout",
        "questions",
        "prompts",
        "lm_eval",
        "judge",
        "latency",
    }
    assert GateConfig(**shown["gate"]).min_items == 200


def test_the_rows_of_prompts_shown_are_read(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(_block("json"))
    items = read_prompts(tmp_path / "rows.jsonl", ("check",), "rules")
    assert [[check.kind for check in item.checks] for item in items] == [
        ["number"],
        ["contains", "not_contains"],
        ["json_schema"],
        ["parses"],
        ["regex"],
    ]


def test_every_metric_is_named() -> None:
    assert [name for name in NAMED if f"`{name}`" not in PAGE] == []
