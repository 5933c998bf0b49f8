"""The Bento holds what serving needs and nothing else, and its container drains as the launcher does."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from serving.container import launcher_arguments
from stacks.deployer.bento import build, tag
from tests.serving.conftest import STUB, Running, wait_until
from tuneline import paths
from tuneline.errors import TunelineError, UserError

PACKED = re.compile(r"^(bentofile\.yaml|serving/.*|tuneline/[a-z_]+\.py|tuneline/(release|prompts)/.*)$")


@pytest.fixture(scope="module")
def bento(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("bentos"))[1]


@pytest.fixture(scope="module")
def dockerfile(bento: Path) -> list[str]:
    return [line for line in (bento / "env/docker/Dockerfile").read_text().splitlines() if line]


def packed(bento: Path) -> set[str]:
    return {str(path.relative_to(bento / "src")) for path in (bento / "src").rglob("*") if path.is_file()}


def test_only_what_serving_needs_is_packed(bento: Path) -> None:
    files = packed(bento)
    assert {name for name in files if not PACKED.match(name)} == set()
    for needed in ("serving/service.py", "serving/container.py", "tuneline/release/store.py", "tuneline/errors.py"):
        assert needed in files
    assert not [name for name in files if name.endswith((".safetensors", ".env", ".pyc", ".jsonl"))]
    assert not (bento / "models").exists()


def test_the_image_gets_the_pinned_versions(bento: Path) -> None:
    def pins(file: Path) -> list[str]:
        return [line for line in file.read_text().splitlines() if line and not line.startswith("#")]

    wanted = pins(paths.REPO / "constraints" / "serving-gpu.txt")
    assert pins(bento / "env/python/requirements.txt") == [*wanted, "bentoml==1.4.39"]  # BentoML adds its own again
    assert all("==" in line for line in wanted)


def test_the_container_runs_the_launcher_and_not_as_root(dockerfile: list[str]) -> None:
    user = max(number for number, line in enumerate(dockerfile) if line.startswith("USER "))
    assert dockerfile[user] == "USER bentoml"
    assert user < next(number for number, line in enumerate(dockerfile) if line.startswith("ENTRYPOINT"))
    assert "ARG BENTO_USER_UID=1034" in dockerfile  # what the pods' securityContext says
    assert dockerfile[-2:] == [
        "ENV PYTHONPATH=/home/bentoml/bento/src",
        'CMD ["python", "-m", "serving.container"]',
    ]


def test_the_same_code_is_the_same_bento_and_other_requirements_make_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("serving", "tuneline", "constraints"):
        shutil.copytree(paths.REPO / name, tmp_path / name)
    before = tag()
    monkeypatch.setattr(paths, "REPO", tmp_path)
    assert tag() == before
    (tmp_path / "serving" / "notes.txt").write_text("x")
    assert tag() != before
    (tmp_path / "serving" / "notes.txt").unlink()
    with (tmp_path / "constraints" / "serving-gpu.txt").open("a") as file:
        file.write("one-more==1.0\n")
    assert tag() != before


def test_a_bento_that_cannot_be_built_says_what_bentoml_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text((paths.REPO / "serving" / "bentofile.yaml").read_text().replace("TunelineEndpoint", "Nobody"))
    monkeypatch.setattr("stacks.deployer.bento.BENTOFILE", wrong)
    monkeypatch.setattr("stacks.deployer.bento.tag", lambda: "tuneline-endpoint:broken")
    with pytest.raises(TunelineError, match="Nobody"):
        build(tmp_path)


@pytest.fixture
def container(bento: Path, dockerfile: list[str], endpoint: Running) -> Running:
    """What the image starts, with its entrypoint and command, from the Bento's folder alone."""
    command = json.loads(dockerfile[-1].removeprefix("CMD "))
    env = {
        "PATH": f"{paths.serving_python().parent}:{os.environ['PATH']}",
        "HOME": str(endpoint.root),
        "BENTO_PATH": str(bento),
        "PYTHONPATH": str(bento / "src"),
        "TUNELINE_ENDPOINT": "tiny",
        "TUNELINE_FOLDER": endpoint.store,
        "TUNELINE_WORKDIR": str(endpoint.workdir),
        "TUNELINE_PORT": "0",
        "TUNELINE_POLL_SECONDS": "0.05",
        "TUNELINE_ENGINE_COMMAND": json.dumps([str(paths.serving_python()), str(STUB)]),
        "STUB_FOLDER": str(endpoint.stub),
    }
    with (endpoint.root / "out").open("w") as out:
        entrypoint = bento / "env/docker/entrypoint.sh"
        endpoint.process = subprocess.Popen(
            ["bash", str(entrypoint), *command],
            cwd=bento,
            env=env,
            stdout=out,
            stderr=out,
            text=True,
            start_new_session=True,
        )

    def card() -> Any:
        assert endpoint.process and endpoint.process.poll() is None, (endpoint.root / "out").read_text()
        file = endpoint.workdir / "endpoint.json"
        return json.loads(file.read_text()) if file.exists() else None

    endpoint.url = wait_until(card, "endpoint.json")["url"]
    return endpoint


def test_the_container_answers_shows_its_logs_and_drains_on_sigterm(container: Running) -> None:
    assert container.get("/livez", None).status_code == 200
    container.release({"1": "one"}, "1")
    container.ready()
    assert container.ask().status_code == 200
    output = container.root / "out"
    wait_until(lambda: "gateway: " in output.read_text(), "the gateway's log on standard output")

    container.tell("token-seconds", "0.1")
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.append(container.ask(max_tokens=20)))
    seen = len(container.engine_saw())
    asking.start()
    wait_until(lambda: len(container.engine_saw()) > seen, "the question to reach the engine")
    assert container.process is not None
    os.kill(container.process.pid, signal.SIGTERM)
    asking.join(30)
    assert [answer.status_code for answer in answers] == [200]
    assert container.process.wait(30) == 0


def test_a_container_that_is_not_told_what_to_serve_says_which_variables() -> None:
    with pytest.raises(UserError, match="TUNELINE_FOLDER not set"):
        launcher_arguments({"TUNELINE_ENDPOINT": "tiny"})
    arguments = launcher_arguments({"TUNELINE_ENDPOINT": "tiny", "TUNELINE_FOLDER": "s3://bucket/tiny"})
    assert arguments[arguments.index("--host") + 1] == "0.0.0.0"
    assert arguments[arguments.index("--port") + 1] == "3000"
