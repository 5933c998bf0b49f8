"""``run.py bento``: the Bento is copied for docker build, and nothing is written over."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.bento import run_bento
from stacks.deployer import bento
from tuneline.errors import UserError


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    return tmp_path / "bentoml"


def test_the_bento_is_packed_with_its_dockerfile_and_the_next_command_is_named(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_bento(None)
    said = " ".join(capsys.readouterr().out.split())
    assert f"bentoml containerize {bento.tag()}" in said
    (packed,) = store.glob("bentos/tuneline-endpoint/*/bento.yaml")
    before = packed.stat().st_mtime_ns
    run_bento(tmp_path / "out")
    assert "docker build -f" in capsys.readouterr().out
    assert (tmp_path / "out" / "env" / "docker" / "Dockerfile").exists()
    assert packed.stat().st_mtime_ns == before  # the same code is the same Bento


def test_a_folder_with_something_in_it_is_refused(store: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(UserError, match="is not empty"):
        run_bento(tmp_path)
    assert not store.exists()
