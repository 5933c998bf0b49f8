"""``run.py report --training`` reads a version's adapter and shows how it was trained, alone or beside another."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import Run
from tests.evaluation.pages import Page
from tests.training.test_page import record
from tuneline.paths import training_file

if TYPE_CHECKING:
    from zenml.client import Client

pytestmark = pytest.mark.zenml


@pytest.fixture
def made(zenml_client: Client, tmp_path: Path) -> Callable[..., str]:
    """Register a version whose adapter's folder holds a training; the model's name."""
    from controlplane.versions import register
    from tests.controlplane.registered import record_of
    from tuneline.config import load_config
    from tuneline.release import AdapterRef

    name = load_config("configs/tiny.yaml", []).name

    def register_one(**settings: object) -> str:
        folder = tmp_path / f"adapter {len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        kept = record("", **settings)
        for file, content in {"training": kept.numbers, "curve": kept.curve, "origin": kept.origin}.items():
            (folder / f"{file}.json").write_text(json.dumps(content))
        adapter = AdapterRef(uri=str(folder), sha256="0" * 64, model_version="unregistered", rank=8)
        register(name, record_of(adapter=folder.name).model_copy(update={"adapter": adapter}), [])
        return name

    return register_one


def test_a_versions_training_is_shown_and_its_page_written(run: Run, made: Callable[..., str]) -> None:
    name = made()
    ended = run("report", "--training")
    assert (ended.code, ended.err) == (0, "")
    path = training_file(name, "1")
    assert "final loss" in ended.out and str(path) in ended.out
    assert "training.scheduler" in Page(path.read_text()).text


def test_two_versions_trainings_are_compared_by_what_differs(run: Run, made: Callable[..., str]) -> None:
    name = made()
    made(r=16)
    ended = run("report", "2", "--training", "--against", "1")
    assert (ended.code, ended.err) == (0, "")
    assert "training.r" in ended.out and "scheduler" not in ended.out
    assert "version 2 beside version 1" in Page(training_file(name, "2", "1").read_text()).text


def test_an_adapter_whose_files_are_gone_is_named(run: Run, made: Callable[..., str], tmp_path: Path) -> None:
    made()
    (tmp_path / "adapter 0" / "curve.json").unlink()
    ended = run("report", "--training")
    assert ended.code == 1 and "curve.json" in ended.err and "is not in" in ended.err
