"""YAML as it is read, and files that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config.conftest import RIGHT, Fail, Load, Write
from tuneline.config import ConfigError, load_config


def test_numbers_and_words_follow_yaml_1_2(load: Load) -> None:
    training = load("max_steps: 10", "learning_rate: 2e-3\n  packing: on\n  r: 007\n  max_steps: 0x10").training
    assert (training.learning_rate, training.packing, training.r, training.max_steps) == (0.002, "on", 7, 16)


def test_a_section_whose_lines_are_all_commented_out_has_its_defaults(load: Load) -> None:
    assert load("training:", "gate:\n  # seed: 3\ntraining:").gate.seed == 0


def test_anchors_can_be_used(load: Load) -> None:
    config = load("evaluation:\n    sources:", "evaluation:\n    sources: &none")
    assert len(config.data.evaluation.sources or ()) == 1


def test_a_missing_file_is_told_with_where_it_was_looked_for_and_what_is_near(write: Write, tmp_path: Path) -> None:
    write()
    with pytest.raises(ConfigError) as caught:
        load_config("my.yml")
    (problem,) = caught.value.problems
    assert str(tmp_path) in problem.what
    assert problem.nearest == "my.yaml"


@pytest.mark.parametrize(
    ("text", "what", "line"),
    [
        ("", "is empty", None),
        ("# nothing yet\n", "is empty", None),
        ("- a\n- b\n", "where its sections should be", 1),
        ("just words\n", "where its sections should be", 1),
        ("name: a\nmodel:\n\tbase: x\n", "a tab: YAML is indented with spaces only", 3),
        ("name: a\nmodel: [1, 2\ndata: x\n", "is not YAML", 3),
        ("name: a\n  model: x\n", "is not YAML", 2),
        ("name: 'a\n", "is not YAML", 2),
        ("name: a\n---\nname: b\n", "is not YAML", 2),
        ("name: *nowhere\n", "is not YAML", 1),
        ("name: a\x00\n", "is not YAML", None),
    ],
)
def test_what_is_no_config_is_refused_with_its_line(fail: Fail, text: str, what: str, line: int | None) -> None:
    (problem,) = fail(text=text).problems
    assert what in problem.what
    assert problem.place.line == line


def test_a_key_written_twice_is_told_with_both_places(fail: Fail) -> None:
    (problem,) = fail("  max_steps: 10", "  max_steps: 10\n  r: 8\n  r: 16").problems
    assert problem.path == ("training", "r")
    assert problem.place.line == 13
    assert problem.what == "is written twice; the first one is at my.yaml:12:3"


def test_a_key_that_is_a_list_is_refused(fail: Fail) -> None:
    (problem,) = fail("  max_steps: 10", "  max_steps: 10\n  [r]: 8").problems
    assert (problem.place.line, problem.what) == (12, "a key is a word, not a list or a section")


def test_a_value_that_contains_itself_is_refused(fail: Fail) -> None:
    (problem,) = fail("  max_steps: 10", "  max_steps: 10\n  target_modules: &t [*t]").problems[:1]
    assert problem.what == "contains itself"


def test_python_objects_are_not_built(fail: Fail) -> None:
    problems = fail("some/model", "!!python/object/apply:os.system [ls]").problems
    assert problems[0].path == ("model", "base")


def test_a_folder_and_a_binary_file_are_refused(write: Write, tmp_path: Path) -> None:
    write()
    (tmp_path / "folder").mkdir()
    (tmp_path / "weights.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is a folder"):
        load_config("folder")
    with pytest.raises(ConfigError, match="is not a text file"):
        load_config("weights.yaml")


def test_windows_line_ends_are_read(write: Write) -> None:
    assert load_config(write(text=RIGHT.replace("\n", "\r\n"))).training.max_steps == 10
