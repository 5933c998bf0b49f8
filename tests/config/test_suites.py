"""Suites: which fit together, which files they name, and what is said of those that do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.conftest import Fail, Load
from tuneline.config import evaluation_files

HELDOUT = "{type: heldout, name: heldout, role: target}"
JUDGE = "{type: judge, name: judge, questions: heldout, url: 'http://host/v1', model: m"


def _suites(*suites: str) -> str:
    return f"evaluation.suites=[{', '.join(suites)}]"


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> Path:
    """Files that suites can name, in the current directory of ``load`` and ``fail``."""
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "a", "contains": "b"}\n')
    (tmp_path / "rows.json").write_text("[]")
    (tmp_path / "mine.py").write_text("import evaluate\n")
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "task.yaml").write_text("task: mine\n")
    (tmp_path / "empty.jsonl").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("overrides", "path", "said"),
    [
        ([_suites(HELDOUT, HELDOUT)], ("suites", 1, "name"), "is heldout, as that of evaluation.suites.0 is"),
        (
            [_suites(HELDOUT, "{type: heldout, name: again}")],
            ("suites", 1, "only"),
            "which suite heldout asks already",
        ),
        ([_suites("{type: heldout, name: a, role: guard}")], ("suites",), "no suite with role target"),
        ([_suites(HELDOUT, JUDGE.replace("heldout", "heldot") + "}")], ("suites", 1, "questions"), "did you mean held"),
        (
            [_suites(HELDOUT, JUDGE + "}", "{type: latency, name: clock, questions: judge}")],
            ("suites", 2, "questions"),
            "a suite of type judge, which asks nothing itself",
        ),
        ([_suites(HELDOUT[:-1] + ", margin: 0.1}")], ("suites", 0, "margin"), "only a guard has it"),
        (
            [_suites(HELDOUT, "{type: heldout, name: k, only: 'k*', role: guard, min_difference: 0.1}")],
            ("suites", 1, "min_difference"),
            "only a target has it",
        ),
        (
            [_suites(HELDOUT[:-1] + ", metrics: [chrf], metric: f1}")],
            ("suites", 0, "metric"),
            "is f1, which the suite does not measure",
        ),
        (
            [_suites(HELDOUT[:-1] + ", metric: bleu}")],
            ("suites", 0, "metric"),
            "is bleu, which the suite does not measure",
        ),
        ([_suites(HELDOUT[:-1] + ", metrics: [f1, check]}")], ("suites", 0, "metrics", 1), "only files of prompts"),
        (["evaluation.metrics=[exact_match, check]"], ("metrics", 1), "only files of prompts have checks"),
        (
            [_suites("{type: lm_eval, name: arc, role: target, tasks: [arc_easy], limit: 60}")],
            ("suites",),
            "no suite whose questions the models answer",
        ),
        (["evaluation.metrics=[exact_match, chrf, chrf]"], ("metrics", 2), "another one has that name"),
        (["evaluation.metrics=[exact_match, latency]"], ("metrics", 1), 'is "latency"'),
        (["evaluation.metrics=[exact_match, chrF]"], ("metrics", 1), 'is "chrF"'),
        (
            [_suites(HELDOUT, JUDGE + ", role: guard, limit: 40}")],
            ("suites", 1, "limit"),
            "gives at most 40 questions, but gate.min_items is 50",
        ),
        (
            [_suites(HELDOUT, "{type: latency, name: clock, questions: heldout, role: guard, limit: 15}")],
            ("suites", 1, "limit"),
            "gives at most 15 questions, but clock.min_items is 20",
        ),
        (
            [
                _suites(
                    HELDOUT, "{type: questions, name: q, role: guard, sources: [{type: hub, dataset: a/b, limit: 9}]}"
                )
            ],
            ("suites", 1),
            "gives at most 9 questions",
        ),
        (
            [_suites(HELDOUT, "{type: questions, name: q, sources: [{type: synthetic, tools: [git], size: 9}]}")],
            ("suites", 1, "sources", 0, "split"),
            "is train",
        ),
        (
            [
                "data.sources=[{type: file, path: rows.json}]",
                _suites(HELDOUT, "{type: questions, name: q, sources: [{type: file, path: ./rows.json}]}"),
            ],
            ("suites", 1, "sources", 0),
            "is trained on as well",
        ),
        (
            [
                "data.sources=[{type: file, path: prompts.jsonl}]",
                _suites(HELDOUT, "{type: prompts, name: p, path: prompts.jsonl}"),
            ],
            ("suites", 1, "path"),
            "is trained on as well",
        ),
        (["evaluation.engine=endpoint"], ("engine",), "does not say where it is"),
        (["evaluation.endpoint={url: 'http://host/v1', base: b}"], ("endpoint",), "would not be asked"),
        (
            [
                "evaluation.engine=endpoint",
                "evaluation.endpoint={url: 'http://host/v1', base: b}",
                "training.export=merged",
            ],
            ("engine",),
            "not those of that server",
        ),
    ],
)
def test_suites_that_do_not_fit_are_refused_at_their_key(
    fail: Fail, overrides: list[str], path: tuple[str | int, ...], said: str
) -> None:
    told = {problem.path: problem for problem in fail(overrides=overrides).problems}
    assert ("evaluation", *path) in told
    assert said in told["evaluation", *path].what


@pytest.mark.parametrize(
    ("suite", "said"),
    [
        (HELDOUT[:-1] + ", metrics: [chrf]}", "not among the metrics of the suite heldout"),
        (HELDOUT[:-1] + ", metric: chrf}", "would decide on nothing: the suite heldout says chrf"),
        ("{type: prompts, name: p, path: prompts.jsonl, role: target}", "and there is none"),
    ],
)
def test_the_gates_metric_must_be_that_of_the_heldout_suites(fail: Fail, suite: str, said: str) -> None:
    (problem,) = fail(overrides=["gate.metric=exact_match", _suites(suite)]).problems
    assert problem.path == ("gate", "metric")
    assert said in problem.what


def test_weights_that_transformers_cannot_make_are_judged_by_vllm(fail: Fail, load: Load) -> None:
    (problem,) = fail(overrides=["serving.quantization=fp8"]).problems
    assert problem.path == ("serving", "quantization")
    assert "evaluation.engine: vllm" in problem.allowed
    assert load(overrides=["serving.quantization=fp8", "evaluation.engine=vllm"])
    assert load(overrides=["serving.quantization=bitsandbytes"])
    assert load(overrides=["serving.quantization=awq"])


def test_every_kind_of_suite_can_stand_beside_the_others(load: Load, files: Path) -> None:
    config = load(
        overrides=[
            _suites(
                HELDOUT,
                "{type: heldout, name: kubectl, only: 'kubectl/*', metrics: [length], role: guard, margin: 0.2}",
                "{type: prompts, name: smoke, path: prompts.jsonl, metrics: [check, mine.py], metric: mine.py}",
                "{type: questions, name: general, sources: [{type: file, path: rows.json}]}",
                "{type: lm_eval, name: tasks, tasks: [mine], include_path: tasks}",
                JUDGE + "}",
                "{type: latency, name: clock, questions: smoke}",
            ),
            "evaluation.metrics=[exact_match, mine.py]",
            "evaluation.primary=mine.py",
            "gate.metric=mine.py",
        ]
    )
    script = str(files / "mine.py")
    assert (config.evaluation.primary, config.gate.metric) == (script, script)
    assert config.evaluation.suites[2].metric == script
    assert evaluation_files(config.evaluation) == [
        files / name for name in ("mine.py", "prompts.jsonl", "rows.json", "tasks")
    ]


@pytest.mark.parametrize(
    ("overrides", "path", "said", "nearest"),
    [
        (
            [_suites(HELDOUT, "{type: prompts, name: p, path: promts.jsonl}")],
            ("evaluation", "suites", 1, "path"),
            "is not in",
            "prompts.jsonl",
        ),
        (
            [_suites(HELDOUT, "{type: prompts, name: p, path: empty.jsonl}")],
            ("evaluation", "suites", 1, "path"),
            "empty (0 bytes)",
            "",
        ),
        (
            [_suites(HELDOUT, "{type: questions, name: q, sources: [{type: file, path: row.json}]}")],
            ("evaluation", "suites", 1, "sources", 0, "path"),
            "is not in",
            "rows.json",
        ),
        (
            [_suites(HELDOUT, "{type: lm_eval, name: l, tasks: [a], include_path: task}")],
            ("evaluation", "suites", 1, "include_path"),
            "is not in",
            "tasks",
        ),
        (
            [_suites(HELDOUT, "{type: lm_eval, name: l, tasks: [a], include_path: rows.json}")],
            ("evaluation", "suites", 1, "include_path"),
            "is no folder",
            "",
        ),
        (["evaluation.metrics=[exact_match, min.py]"], ("evaluation", "metrics", 1), "is not in", "mine.py"),
        (
            [_suites(HELDOUT[:-1] + ", metrics: [tasks, exact_match]}")],
            ("evaluation", "suites", 0, "metrics", 0),
            'is "tasks"',
            "",
        ),
    ],
)
def test_a_file_of_a_suite_that_is_not_there_is_told_with_its_neighbour(
    fail: Fail, overrides: list[str], path: tuple[str | int, ...], said: str, nearest: str
) -> None:
    (problem,) = fail(overrides=overrides).problems
    assert problem.path == path
    assert said in problem.what
    assert problem.nearest == nearest


def test_the_gates_metric_decides_where_it_is_measured_and_no_other_is_named(load: Load) -> None:
    config = load(
        overrides=[
            _suites(
                HELDOUT,
                "{type: heldout, name: short, only: 'a*', metrics: [length], role: guard}",
                "{type: heldout, name: own, only: 'b*', metric: rouge_l}",
                "{type: prompts, name: smoke, path: prompts.jsonl, metrics: [check, chrf]}",
            ),
            "gate.metric=chrf",
        ]
    )
    evaluation = config.evaluation
    decides = [evaluation.metric_of(suite, config.gate.metric) for suite in evaluation.suites]
    assert decides == ["chrf", "length", "rouge_l", "check"]
    assert evaluation.metric_of(evaluation.suites[0]) == "exact_match"


def test_a_script_may_not_have_the_name_of_a_metric(fail: Fail, files: Path) -> None:
    (files / "chrf.py").write_text("import evaluate\n")
    (problem,) = fail(overrides=["evaluation.metrics=[exact_match, ./chrf.py]"]).problems
    assert problem.path == ("evaluation", "metrics", 1)


def test_suites_that_are_no_sections_are_told_as_such(fail: Fail) -> None:
    assert fail(overrides=["evaluation.suites=[1]"]).problems[0].path[:3] == ("evaluation", "suites", 0)
    assert fail(overrides=["evaluation.suites=all"]).problems[0].path == ("evaluation", "suites")
    (problem,) = fail(overrides=[_suites(HELDOUT, "{type: promts, name: p}")]).problems
    assert problem.nearest == "prompts"
