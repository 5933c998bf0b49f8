"""``run.py base`` loads the base model in a process of its own, asks it, and says what it costs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.training.random_base import make_random_base

Refused = Callable[..., str]


def test_the_model_is_asked_and_measured_in_full_and_in_4_bit(run: Run, tmp_path: Path) -> None:
    base = make_random_base(tmp_path / "base")
    ended = run(
        *("base", "--set", f"model.base={base}", "--quantization", "none,nf4", "--json"),
        *("--max-new-tokens", "4", "--ask", "list the pods", "--ask", "What is helm?"),
    )
    assert (ended.code, ended.err) == (0, "")
    full, small = json.loads(ended.out)["checks"]
    assert (full["quantization"], small["quantization"]) == ("none", "nf4")
    assert small["weights_gib"] < full["weights_gib"] and small["parameters"] == full["parameters"]
    for check in (full, small):
        assert len(check["texts"]) == 2 and check["device"]
        assert min(check[key] for key in ("load_seconds", "first_token_seconds", "tokens_per_second_8")) > 0
        assert check["peak_memory_gib"] > check["weights_gib"]


def test_a_precision_that_does_not_exist_is_refused(refused: Refused) -> None:
    said = refused("base", "--quantization", "none,fp4")
    assert "there is no 'fp4'" in said and "none, int8, nf4" in said


def test_a_model_that_cannot_be_loaded_is_the_users_to_mend(run: Run) -> None:
    ended = run("base", "--set", "model.base=nobody/no-model", "--set", "model.revision=null")
    assert ended.code == 2
    assert "nobody/no-model" in ended.err and "HF_TOKEN" in ended.err


@pytest.mark.parametrize(
    ("code", "stderr", "says"),
    [(-9, "", "memory was not enough"), (1, "Traceback\nRuntimeError: odd", "RuntimeError: odd")],
)
def test_a_process_that_dies_is_explained_without_a_traceback(
    run: Run, monkeypatch: pytest.MonkeyPatch, code: int, stderr: str, says: str
) -> None:
    def died(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, code, "", stderr)

    monkeypatch.setattr(subprocess, "run", died)
    ended = run("base")
    assert ended.code == 1
    assert says in ended.err and "in full" in ended.err and "nf4" in ended.err
