"""``run.py`` in this process: a process of its own pays ten seconds for ZenML's import."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cli.app import main
from cli.screen import console

if TYPE_CHECKING:
    from zenml.client import Client


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run a command as ``python run.py`` does."""
    environment = dict(os.environ)
    monkeypatch.setenv("COLUMNS", "200")  # typer's own messages are wrapped,
    monkeypatch.setattr(console, "width", 200)  # and so are cells of tables

    def ran(*arguments: str) -> Ended:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["run.py", *arguments])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return Ended(code, said.out, said.err)

    yield ran
    os.environ.clear()  # a command chooses a stack and quiets ZenML for its process
    os.environ.update(environment)


@pytest.fixture
def refused(run: Run) -> Callable[..., str]:
    """Run a command that must refuse its input; what it says."""

    def ran(*arguments: str) -> str:
        ended = run(*arguments)
        assert (ended.code, ended.out) == (2, ""), ended
        return ended.err

    return ran


@pytest.fixture
def nothing_was_made(zenml_client: Client, tuneline_home: Path) -> Callable[[], bool]:
    """Whether ZenML has no run, model, secret and service, and no endpoint has a release or a process."""

    def looked() -> bool:
        found = (
            zenml_client.list_pipeline_runs().total,
            zenml_client.list_models().total,
            zenml_client.list_secrets().total,
            zenml_client.list_services().total,
            [str(path) for path in tuneline_home.glob("zenml/local_stores/*/tuneline/**/*")],
            [str(path) for path in tuneline_home.glob("endpoints/*/*")],
        )
        assert found == (0, 0, 0, 0, [], [])
        return True

    return looked
