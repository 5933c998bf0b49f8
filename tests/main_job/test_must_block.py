"""What must never reach production, each sent through the real pipeline: real data, training, evaluation and gate.

A weak version 1 is in production. Every candidate below is refused by the command's exit code; what that left behind
the last test looks at, since a stage that had moved would not have moved back.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.main_job.conftest import Tuneline, fresh_world
from tuneline import paths
from tuneline.data.synthetic import generate_records
from tuneline.evaluation.report import EvaluationReport
from tuneline.gate.verdict import Verdict

pytestmark = pytest.mark.main_job

TOOLS = ("kubectl", "helm", "docker", "git")
QUICK = ("--set", "data.evaluation.sources.0.size=200", "--set", "training.max_steps=70")
OTHER_SEED = ("--set", "training.seed=7")
A_LITTLE_FASTER = ("--set", "training.learning_rate=2.1e-3")  # than the champion: nearly the same adapter

# Prints the newest version's documents; in a process of its own, because ZenML's store is chosen when it is imported.
_DOCUMENTS = """
import json, sys
from zenml.client import Client
from controlplane.versions import list_versions, set_stage
version = list_versions("devops-assistant")[-1]
if sys.argv[1:] == ["production"]:
    set_stage(version, "production")
load = lambda id: json.loads(Client().get_artifact_version(id).load().model_dump_json())
print("\\n" + json.dumps({"report": load(version.record.report), "verdict": load(version.record.verdict)}))
"""


def newest(tuneline: Tuneline, *arguments: str) -> tuple[EvaluationReport, Verdict]:
    """Evaluation and verdict of the newest version."""
    command = [sys.executable, "-c", _DOCUMENTS, *arguments]
    said = subprocess.run(command, cwd=paths.REPO, env=tuneline.env, capture_output=True, text=True, check=True)
    documents = json.loads(said.stdout.splitlines()[-1])
    return EvaluationReport.model_validate(documents["report"]), Verdict.model_validate(documents["verdict"])


@pytest.fixture(scope="module")
def tuneline() -> Iterator[Tuneline]:
    """A world with version 1 in production; there is no endpoint, since nothing here gets as far."""
    with fresh_world() as world:
        world.done("train", *QUICK)
        newest(world, "production")
        yield world


def refused(tuneline: Tuneline, exit_code: int, *arguments: str) -> str:
    """Train with these options; gives all that the command said."""
    finished = tuneline.run("train", *QUICK, *arguments)
    said = finished.stdout + finished.stderr
    assert finished.returncode == exit_code, said
    assert "Traceback" not in said
    return " ".join(said.split())


def suites(*extra: dict[str, Any], only: bool = False) -> tuple[str, str]:
    """An option that adds suites to the held-out one, or replaces it, with those."""
    heldout = {"type": "heldout", "name": "heldout", "role": "report" if only else "target"}
    return "--set", "evaluation.suites=" + json.dumps([heldout, *extra])


def prompts(path: Path, rows: Sequence[dict[str, Any]], **how: Any) -> dict[str, Any]:
    """A suite of prompts in a file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"type": "prompts", "name": path.stem, "path": str(path), **how}


def test_the_champion_itself_is_no_better_than_the_champion(tuneline: Tuneline) -> None:
    said = refused(tuneline, 3, "--set", "gate.seed=1")  # another training key, the same adapter
    assert "The gate says FAIL" in said and "nothing was gained" in said


def test_shuffled_answers_are_worse(tuneline: Tuneline, tmp_path: Path) -> None:
    records = list(generate_records(TOOLS, 4000, seed=11))
    answers = [record.reference for record in records]
    random.Random(5).shuffle(answers)
    file = tmp_path / "shuffled.jsonl"
    file.write_text(
        "".join(
            json.dumps({"instruction": record.messages[0].content, "input": "", "output": answer}) + "\n"
            for record, answer in zip(records, answers, strict=True)
        )
    )
    said = refused(tuneline, 3, "--set", f"data.sources=[{{type: file, path: {file}}}]")
    assert "The gate says FAIL" in said
    _, verdict = newest(tuneline)
    assert any(c.high < 0 for rule in verdict.rules for c in rule.comparisons), "it is proven worse than the champion"


def test_better_on_the_target_and_worse_on_a_guard(tuneline: Tuneline) -> None:
    new = "{type: synthetic, tools: [mlflow, dvc, zenml, prometheus], size: %d, seed: %d%s}"
    said = refused(
        tuneline,
        3,
        "--set",
        f"data.sources=[{new % (4000, 1, '')}]",
        "--set",
        f"data.evaluation.sources=[{new % (200, 2, ', split: eval')}]",
        *suites(
            {
                "type": "questions",
                "name": "what-it-could",
                "role": "guard",
                "min_items": 100,
                "sources": [{"type": "synthetic", "tools": list(TOOLS), "size": 120, "seed": 2, "split": "eval"}],
            }
        ),
    )
    assert "The gate says FAIL" in said and "what-it-could" in said
    _, verdict = newest(tuneline)
    assert {rule.suite: rule.outcome for rule in verdict.rules} == {"heldout": "PASS", "what-it-could": "FAIL"}


def test_better_by_three_questions_of_luck(tuneline: Tuneline, tmp_path: Path) -> None:
    """The champion with a slightly higher learning rate: they differ here and there, and three of that is chosen."""
    tuneline.run("train", *QUICK, *A_LITTLE_FASTER)
    report, _ = newest(tuneline)
    champion, candidate = report.lead.subject("champion"), report.lead.subject("candidate")
    assert champion is not None and candidate is not None
    pairs = list(zip(report.lead.items, champion.results, candidate.results, strict=True))
    differing = [
        (item, new.completion) for item, old, new in pairs if old.completion != new.completion and new.finished
    ]
    same = [(item, new.completion) for item, old, new in pairs if old.completion == new.completion and new.finished]
    assert len(differing) >= 3 and len(same) >= 57
    rows = [
        {"prompt": item.messages[-1].content, "reference": answer, "checks": [{"kind": "exact", "value": answer}]}
        for item, answer in [*differing[:3], *same[:57]]
    ]
    said = refused(
        tuneline,
        3,
        *A_LITTLE_FASTER,
        *suites(prompts(tmp_path / "three.jsonl", rows, role="target", min_items=50), only=True),
    )
    assert "The gate says INCONCLUSIVE" in said
    _, verdict = newest(tuneline)
    (rule,) = verdict.rules
    against = next(c for c in rule.comparisons if c.opponent == "champion")
    assert (against.wins, against.losses, against.outcome) == (3, 0, "INCONCLUSIVE")
    assert against.needed_items is not None and against.needed_items > 60
    assert "more questions would settle it" in verdict.sentence


def test_five_questions_decide_nothing_even_if_the_config_says_that_five_are_enough(
    tuneline: Tuneline, tmp_path: Path
) -> None:
    rows = [
        {"prompt": record.messages[0].content, "reference": record.reference, "contains": record.reference[:3]}
        for record in generate_records(("dvc",), 5, seed=3, split="eval")
    ]
    said = refused(
        tuneline,
        3,
        "--set",
        "gate.min_items=1",
        *suites(prompts(tmp_path / "five.jsonl", rows, role="target"), only=True),
    )
    assert "The gate says" in said and "PASS" not in said


def test_answers_that_are_cut_off_count_as_wrong(tuneline: Tuneline) -> None:
    said = refused(tuneline, 3, *OTHER_SEED, "--set", "evaluation.max_new_tokens=6")
    assert "The gate says FAIL" in said and "cut off" in said


SCRIPT = """
import datasets
import evaluate
import os
import signal


class {name}(evaluate.Metric):
    def _info(self):
        text = datasets.Value("string")
        features = datasets.Features({{"predictions": text, "references": text}})
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _compute(self, predictions, references):
        {body}
"""


def test_a_metric_that_gives_no_number(tuneline: Tuneline, tmp_path: Path) -> None:
    script = tmp_path / "half_nan.py"
    script.write_text(
        SCRIPT.format(name="HalfNan", body='return {"scores": [float("nan")] + [1.0] * (len(predictions) - 1)}')
    )
    said = refused(tuneline, 1, *OTHER_SEED, "--set", f"evaluation.metrics=[exact_match, {script}]")
    assert "half_nan" in said and "nan" in said


def test_an_evaluation_that_is_killed_half_way(tuneline: Tuneline, tmp_path: Path) -> None:
    script, calls = tmp_path / "killer.py", tmp_path / "calls"
    script.write_text(
        SCRIPT.format(
            name="Killer",
            body=f"""open({str(calls)!r}, "a").write("x")
        if os.path.getsize({str(calls)!r}) == 2:  # the base model is scored, the champion is not
            os.kill(os.getpid(), signal.SIGKILL)
        return {{"scores": [1.0] * len(predictions)}}""",
        )
    )
    refused(tuneline, -9, *OTHER_SEED, "--set", f"evaluation.metrics=[exact_match, {script}]")
    assert calls.read_text() == "xx"


def test_questions_that_were_trained_on(tuneline: Tuneline, tmp_path: Path) -> None:
    trained = list(generate_records(TOOLS, 60, seed=1))
    rows = [{"prompt": r.messages[0].content.upper() + " ", "reference": r.reference} for r in trained]
    said = refused(
        tuneline,
        2,
        *suites(prompts(tmp_path / "leaked.jsonl", rows, role="target", metrics=["exact_match"]), only=True),
    )
    assert "leaked" in said and "training data" in said


def test_neither_staging_nor_production_has_moved_and_broken_evaluations_made_no_version(tuneline: Tuneline) -> None:
    versions = tuneline.versions()
    assert {name: row["stage"] for name, row in versions.items() if row["stage"] != "none"} == {"1": "production"}
    # version 1; the champion again, shuffled, guard, a little faster, three of luck, five questions, cut off
    assert {row["verdict"] for name, row in versions.items() if name != "1"} <= {"FAIL", "INCONCLUSIVE"}
    assert list(versions) == ["1", "2", "3", "4", "5", "6", "7", "8"]
