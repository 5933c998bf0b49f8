"""``run.py logs``: what the endpoint's processes wrote, whether it runs or not."""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import Run
from tuneline import paths

if TYPE_CHECKING:
    from zenml.client import Client

pytestmark = pytest.mark.zenml

TINY = ("--set", "name=tiny")


@pytest.fixture
def workdir(zenml_client: Client) -> Path:
    """The working directory of an endpoint "tiny" that has run."""
    folder = paths.endpoint_workdir("tiny")
    folder.mkdir(parents=True)
    (folder / "engine.log").write_text("loading\nweights [3/3]\nready\n")
    (folder / "gateway.log").write_text("release 1\nrelease 2\n")
    (folder / "start.log").write_text("listening\n")
    return folder


def test_the_last_lines_of_each_log_are_shown_under_its_name(run: Run, workdir: Path) -> None:
    lines = ["start: listening", "gateway: release 1", "gateway: release 2"]
    lines += ["engine: loading", "engine: weights [3/3]", "engine: ready"]
    ended = run("logs", *TINY)
    assert (ended.code, ended.out.splitlines(), ended.err) == (0, lines, "")
    assert run("logs", "-n", "1", *TINY).out.splitlines() == [lines[0], lines[2], lines[5]]


def test_an_endpoint_without_logs_is_told_with_what_starts_it(run: Run, workdir: Path) -> None:
    ended = run("logs", "--set", "name=other")
    assert ended.code == 0
    assert "'other' has written nothing here yet. python run.py deploy starts it." in ended.out


def test_following_goes_on_with_what_is_written_until_the_endpoint_ends(
    run: Run, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stacks.deployer import process

    script = "import pathlib, time\nwhile not pathlib.Path('end').exists(): time.sleep(0.05)"
    process.launch([sys.executable, "-c", script], workdir=workdir, folder="", cwd=workdir, environment={})
    pauses, pause = itertools.count(), time.sleep

    def meanwhile(seconds: float) -> None:
        match next(pauses):
            case 0:
                with (workdir / "gateway.log").open("a") as log:
                    log.write("release 3\n")
            case 1:
                (workdir / "end").touch()
        pause(seconds)

    with monkeypatch.context() as patched:
        patched.setattr("stacks.deployer.process.time.sleep", meanwhile)
        ended = run("logs", "--follow", "--lines", "1", *TINY)
    assert (ended.code, ended.out.splitlines()) == (0, ["gateway: release 2", "engine: ready", "gateway: release 3"])


def test_ctrl_c_ends_following_as_its_help_says(run: Run, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stacks.deployer import process

    script = "import time; time.sleep(600)"
    process.launch([sys.executable, "-c", script], workdir=workdir, folder="", cwd=workdir, environment={})

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("stacks.deployer.process.time.sleep", interrupted)
        ended = run("logs", "-f", "-n", "1", *TINY)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == ["gateway: release 2", "engine: ready"]
