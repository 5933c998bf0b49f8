"""Which files a config names, where they are looked for, and what is said when they are not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.conftest import Fail, Load
from tuneline.config import ModelConfig
from tuneline.paths import REPO


def _model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


@pytest.mark.parametrize("given", ["Qwen/Qwen3-0.6B", "gpt2", "meta-llama/Llama-2-7b-chat-hf"])
def test_a_hub_id_is_left_alone(load: Load, given: str) -> None:
    model = load("some/model", given).model
    assert model.base == given
    assert not model.is_local


def test_a_local_model_becomes_an_absolute_path(load: Load, tmp_path: Path) -> None:
    _model(tmp_path / "models" / "tiny")
    model = load("some/model", "models/tiny").model
    assert model.base == str(tmp_path / "models" / "tiny")
    assert model.is_local


@pytest.mark.parametrize(
    "given", ["./tiny", "../no-such/tiny", "/no/such/tiny", "~/no-such/tiny", "a/b/c", "models/tinny"]
)
def test_what_looks_like_a_path_must_exist(fail: Fail, tmp_path: Path, given: str) -> None:
    _model(tmp_path / "models" / "tiny")  # so `models/tinny` is a path and no hub id
    (problem,) = fail("some/model", given).problems
    assert problem.path == ("model", "base")
    assert problem.place.line == 3
    assert given in problem.what
    assert problem.nearest == ("models/tiny" if given == "models/tinny" else "")


def test_a_missing_path_says_where_it_was_looked_for(fail: Fail, tmp_path: Path) -> None:
    (problem,) = fail("some/model", "./tiny").problems
    assert str(tmp_path) in problem.what
    assert str(REPO) in problem.what


def test_a_folder_without_a_model_and_an_address_are_refused(fail: Fail, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "there is no config.json" in fail("some/model", "./empty").problems[0].what
    assert "hub id or a folder" in fail("some/model", "s3://bucket/model").problems[0].what
    assert "neither a folder nor a hub id" in fail("some/model", "not a model").problems[0].what


def _with_file(path: str) -> tuple[str, str]:
    return "    - {type: synthetic", f"    - {{type: file, path: {path}}}\n    - {{type: synthetic"


def test_a_data_file_is_found_here_before_the_repository(load: Load, tmp_path: Path) -> None:
    there = "assets/examples/devops-alpaca.json"
    assert load(*_with_file(there)).data.sources[0].path == str(REPO / there)
    (tmp_path / "assets" / "examples").mkdir(parents=True)
    (tmp_path / there).write_text("[]")
    assert load(*_with_file(there)).data.sources[0].path == str(tmp_path / there)


def test_a_missing_data_file_is_told_with_its_neighbour(fail: Fail, tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text("[]")
    (problem,) = fail(*_with_file("row.json")).problems
    assert problem.path == ("data", "sources", 0, "path")
    assert problem.nearest == "rows.json"


def test_an_empty_data_file_a_folder_and_an_address_are_refused(fail: Fail, tmp_path: Path) -> None:
    (tmp_path / "empty.json").touch()
    (tmp_path / "folder").mkdir()
    assert "is empty (0 bytes)" not in fail(*_with_file("nothing.json")).problems[0].what
    assert "which is empty (0 bytes)" in fail(*_with_file("empty.json")).problems[0].what
    assert "which is a folder" in fail(*_with_file("folder")).problems[0].what
    assert "this machine's files" in fail(*_with_file("https://host/rows.json")).problems[0].what


def test_a_missing_file_is_told_beside_a_wrong_type_in_the_same_section(fail: Fail) -> None:
    problems = fail("base: some/model", "base: ./nowhere\n  dtype: 16").problems
    assert {problem.path for problem in problems} == {("model", "base"), ("model", "dtype")}


def test_a_missing_prompt_file_is_told(fail: Fail) -> None:
    (problem,) = fail("name: assistant", "name: assistant\nprompt: prompts/none.yaml").problems
    assert problem.path == ("prompt",)


def test_a_loaded_model_section_knows_whether_it_is_local() -> None:
    assert ModelConfig(base="/models/x").is_local
    assert not ModelConfig(base="org/x").is_local
