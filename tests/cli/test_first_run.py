"""Commands that are run too early, on a machine where nothing was made yet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import Run
from tuneline.paths import REPO

if TYPE_CHECKING:
    from zenml.client import Client

pytestmark = pytest.mark.zenml

Refused = Callable[..., str]
Nothing = Callable[[], bool]

TOO_EARLY = {
    ("ask", "hi"): ["endpoint 'devops-assistant' is not running", "`python run.py deploy`"],
    ("card",): ["'devops-assistant' has no versions yet", "`python run.py train`"],
    ("card", "7"): ["has no version '7' (versions: none yet)"],
    ("ask", "--key"): ["has no API key yet", "`python run.py deploy`"],
    ("canary", "7", "--percent", "5"): ["has no version '7' (versions: none yet)", "`python run.py models`"],
    ("canary", "--percent", "5"): ["no canary of 'devops-assistant' is running", "canary VERSION --percent 10"],
    ("deploy",): ["nothing to deploy: no version of 'devops-assistant'", "`python run.py train`"],
    ("models", "7"): ["has no version '7' (versions: none yet)"],
    ("promote", "7", "--override", "because"): ["has no version '7' (versions: none yet)", "`python run.py models`"],
    ("promote", "7"): ["has no version '7' (versions: none yet)", "`python run.py models`"],
    ("rollback",): ["'devops-assistant' has never had a version in production", "`python run.py`"],
    ("rollback", "--to", "7"): ["'devops-assistant' has never had a version in production"],
    ("train", "--stack", "nowhere"): ["there is no stack 'nowhere'", "`python run.py stack list`"],
    ("--stack", "gpu"): ["there is no stack 'gpu'", "`python run.py stack apply stacks/gpu.yaml`"],
    ("stack", "apply", "nowhere"): ["there is no stack file 'nowhere'", "local (stacks/local.yaml)"],
    ("stack", "apply", "configs/tiny.yaml"): ["configs/tiny.yaml is not a stack file", "stack_name: Field required"],
}
WITHOUT_EFFECT = {
    ("stop",): "Endpoint 'devops-assistant' was not running. python run.py deploy starts it.",
    ("models",): "'devops-assistant' has no versions yet. Next: python run.py train",
    ("logs",): "Endpoint 'devops-assistant' has written nothing here yet. python run.py deploy starts it.",
}


def test_what_comes_too_early_is_told_with_what_comes_first(
    run: Run, refused: Refused, nothing_was_made: Nothing, subtests: pytest.Subtests
) -> None:
    for arguments, pieces in TOO_EARLY.items():
        with subtests.test(" ".join(arguments)):
            said = refused(*arguments)
            for piece in pieces:
                assert piece in said
    for arguments, line in WITHOUT_EFFECT.items():
        with subtests.test(" ".join(arguments)):
            ended = run(*arguments)
            assert (ended.code, ended.out.strip(), ended.err) == (0, line, "")
    assert nothing_was_made()


def test_a_version_that_did_not_pass_the_gate_is_not_promoted(zenml_client: Client, run: Run) -> None:
    from controlplane.storage import active_storage
    from tests.controlplane.registered import registered, stages

    assert run("stop", "--set", "name=tiny").code == 0  # chooses the stack
    registered("a", None, outcome="INCONCLUSIVE", sentence="The evidence [a few questions] is not enough.")
    ended = run("promote", "1", "--set", "name=tiny")
    assert ended.code == 3
    assert "The gate says INCONCLUSIVE. The evidence [a few questions] is not enough." in ended.out
    assert "untouched" in ended.out
    assert stages() == {"1": "none"}
    assert active_storage().releases("tiny").history() == []
    assert zenml_client.list_pipeline_runs().total == 0


def test_json_stands_alone_on_stdout(zenml_client: Client, run: Run, tuneline_home: Path) -> None:
    stacks = json.loads(run("stack", "list", "--json").out)
    assert {"tuneline-local", "tuneline-gpu"} <= {stack["name"] for stack in stacks}
    assert json.loads(run("models", "--json").out) == {"endpoint": None, "versions": []}
    findings = json.loads(run("doctor", "--json").out)["findings"]
    assert {"Python", "zenml", "serving environment", "tuneline's folder", "config"} <= {f["what"] for f in findings}


def test_doctor_finds_what_is_wrong_and_ends_with_1(
    run: Run, monkeypatch: pytest.MonkeyPatch, tuneline_home: Path
) -> None:
    monkeypatch.setenv("TUNELINE_SERVING_PYTHON", "/nowhere/python")
    monkeypatch.setenv("TUNELINE_HOME", "/dev/null/home")
    ended = run("doctor", "--json", "--set", "training.r=128")
    assert ended.code == 1
    missing = {f["what"]: f["detail"] for f in json.loads(ended.out)["findings"] if f["status"] == "missing"}
    assert set(missing) == {"serving environment", "tuneline's folder", "config"}
    assert "/nowhere/python" in missing["serving environment"]
    assert "/dev/null/home" in missing["tuneline's folder"]
    assert "training.r: is 128" in missing["config"]


def test_json_stands_alone_on_stdout_even_where_zenml_has_to_be_made_first(tmp_path: Path) -> None:
    places = {"ZENML_CONFIG_PATH": "zenml", "ZENML_LOCAL_STORES_PATH": "zenml/local_stores", "TUNELINE_HOME": "home"}
    ended = subprocess.run(
        [sys.executable, "run.py", "models", "--json"],
        cwd=REPO,
        env=os.environ | {name: str(tmp_path / place) for name, place in places.items()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == {"endpoint": None, "versions": []}
