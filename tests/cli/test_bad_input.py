"""What a person reads whose file, key, value or order of words is not right. Nothing of ZenML has started by then."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.preflight import check_data
from tests.cli.conftest import Run
from tuneline.config import load_config
from tuneline.paths import REPO

Refused = Callable[..., str]

ALPACA = ("train", "--config", "configs/alpaca-file.yaml", "--set")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current directory full of files that are not right."""
    monkeypatch.chdir(tmp_path)
    rows = [json.dumps({"instruction": f"question {number}", "output": f"answer {number}"}) for number in range(40)]
    (tmp_path / "broken.jsonl").write_text("\n".join([*rows[:6], rows[6][:20], *rows[7:]]))
    (tmp_path / "other.jsonl").write_text('{"foo": 1}\n' * 9)
    (tmp_path / "empty.json").touch()
    (tmp_path / "blank.json").write_text(" \n")
    (tmp_path / "binary.json").write_bytes(b"\n\x89PNG\r\n\x1a\n")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "binary.parquet").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "dirs.jsonl").mkdir()
    (tmp_path / "binary.yaml").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "empty.yaml").touch()
    (tmp_path / "broken.yaml").write_text("name: a\nmodel: [1\n")
    (tmp_path / "list.yaml").write_text("- a\n")
    (tmp_path / "données ✓").mkdir()
    (tmp_path / "données ✓" / "broken.jsonl").write_text("{")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "pieces"),
    [
        # keys and values
        (("train", "--set", "training.learnig_rate=1"), ["training.learnig_rate", "(given 1)", "mean learning_rate?"]),
        (("--set", "training.r=sixteen"), ["--set training.r=sixteen", 'is "sixteen"', "a whole number above 0"]),
        (("--set", "training.r=128"), ["training.r: is 128", "up to 16", "serving.max_lora_rank: 128"]),
        (("deploy", "--set", "training.r"), ["--set training.r: is not of the form section.key=value"]),
        (("models", "--set", "trainin.r=3"), ["unknown section", "Did you mean training?"]),
        (("stop", "--set", "data.sources.7.size=3"), ["there is no data.sources.7", "has 1 item, counted from 0"]),
        (("pretrain", "--set", "training.stesp=3"), ["training.stesp", "Did you mean steps?"]),
        # the base model
        (("--set", "model.base=./nowhere"), ["model.base: is './nowhere', which is not in", "config.json"]),
        (("--set", "model.base=/nowhere/at/all"), ["'/nowhere/at/all', which does not exist", "config.json"]),
        (("--set", "model.base=données ✓"), ["'données ✓', where there is no config.json"]),
        # data files
        ((*ALPACA, "data.sources.0.path=nowhere.json"), ["'nowhere.json', which is not in", "a JSON, JSON Lines, CSV"]),
        ((*ALPACA, "data.sources.0.path=brokn.jsonl"), ["'brokn.jsonl'", "Did you mean broken.jsonl?"]),
        ((*ALPACA, "data.sources.0.path=dirs.jsonl"), ["'dirs.jsonl', which is a folder", "a JSON, JSON Lines, CSV"]),
        ((*ALPACA, "data.sources.0.path=empty.json"), ["'empty.json', which is empty (0 bytes)"]),
        ((*ALPACA, "data.sources.0.path=blank.json"), ["blank.json' has no rows", "at least one row"]),
        ((*ALPACA, "data.sources.0.path=broken.jsonl"), ["broken.jsonl, line 7, column 17", '{"instruction": "que']),
        ((*ALPACA, "data.sources.0.path=binary.json"), ["binary.json, line 2", "0x89", "Save the file as UTF-8"]),
        ((*ALPACA, "data.sources.0.path=picture.png"), ["'.png'", ".json, .jsonl"]),
        ((*ALPACA, "data.sources.0.path=binary.parquet"), ["binary.parquet: not a readable Parquet file"]),
        (
            (*ALPACA, "data.sources.0.path=other.jsonl"),
            ["other.jsonl: 9 of 9 rows", "'alpaca'", "max_quarantined"],
        ),
        ((*ALPACA, "data.sources.0.path=données ✓/broken.jsonl"), ["données ✓/broken.jsonl, line 1", "broken JSON"]),
        # the config's file
        (
            ("--config", "nowhere.yaml"),
            ["nowhere.yaml: is not in", str(REPO), "such as those in configs/"],
        ),
        (("--config", "configs/tinny.yaml"), ["Did you mean configs/tiny.yaml?"]),
        (("--config", "données ✓.yaml"), ["données ✓.yaml: is not in"]),
        (("models", "--config", "configs"), ["configs: is a folder, a config is a YAML file"]),
        (("train", "--config", "binary.yaml"), ["binary.yaml: is not a text file: byte 0"]),
        (("train", "--config", "broken.yaml"), ["broken.yaml:3:1: is not YAML: expected ',' or ']'"]),
        (("train", "--config", "list.yaml"), ['holds ["a"] where its sections should be']),
        (("logs", "--config", "empty.yaml"), ["empty.yaml: is empty"]),
        (("pretrain", "--config", "nowhere.yaml"), ["nowhere.yaml: is not in"]),
        # the command itself
        (("trian",), ["No such command 'trian'", "'train'"]),
        (("stack", "aply"), ["No such command 'aply'", "'apply'"]),
        (("train", "--fast"), ["No such option: --fast"]),
        (("train", "--config"), ["'--config' requires an argument"]),
        (("promote",), ["Missing argument 'version'"]),
        (("promote", "1", "--reason", " "), ["--reason is empty: say why"]),
        (("promote", "1", "--override", ""), ["--override is empty: say why"]),
        (("rollback", "--reason", ""), ["--reason is empty: say why"]),
        (
            ("promote", "1", "--set", "gate.approval=by_hand"),
            ["`promote 1` gives traffic by hand, and needs a reason", 'python run.py promote 1 --reason "…"'],
        ),
        (("logs", "--lines", "0"), ["--lines", "greater than or equal to 1"]),
        (("--set", "training.r=4", "train"), ["options go behind the command: python run.py train"]),
        (("--stack", "other", "ask", "hi"), ["options go behind the command: python run.py ask"]),
        (("ask",), ["there is no question", 'python run.py ask "list the pods in namespace web"']),
        (("ask", " "), ["there is no question"]),
    ],
    ids=lambda value: " ".join(value).replace("✓", "") if isinstance(value, tuple) else "",
)
def test_wrong_input_is_told_with_its_place_its_value_and_what_would_be_right(
    refused: Refused, files: Path, tuneline_home: Path, arguments: tuple[str, ...], pieces: list[str]
) -> None:
    said = refused(*arguments)
    for piece in pieces:
        assert piece in said
    assert list(tuneline_home.iterdir()) == []


def test_rows_on_one_line_and_names_in_any_language_are_no_mistake(files: Path) -> None:
    rows = [{"instruction": f"question {number}", "input": "", "output": f"réponse {number}"} for number in range(400)]
    path = files / "données ✓" / "дані.json"
    path.write_text(json.dumps(rows))  # without an indent, as most scripts write it
    check_data(load_config("configs/alpaca-file.yaml", [f"data.sources.0.path={path}"]))


def test_wrong_input_leaves_nothing_behind_not_even_a_zenml(files: Path) -> None:
    world = files / "world"
    places = {"ZENML_CONFIG_PATH": "zenml", "ZENML_LOCAL_STORES_PATH": "zenml/local_stores", "TUNELINE_HOME": "home"}
    ended = subprocess.run(
        [sys.executable, str(REPO / "run.py"), *ALPACA, "data.sources.0.path=broken.jsonl"],
        env=os.environ | {name: str(world / place) for name, place in places.items()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("Error: ")
    assert not world.exists()


def test_a_message_in_a_log_has_no_frame_and_breaks_no_path(run: Run, files: Path) -> None:
    path = f"{files}/{'long' * 40}.yaml"
    first, *_ = run("--config", path).err.splitlines()
    assert first == f"Error: {path} has a problem:"


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cli.train.run_train", interrupted)
    ended = run("train")
    assert ended.code == 130
    assert "interrupted" in ended.err and "run the same command again" in ended.err


def test_a_file_that_cannot_be_used_is_told_by_its_name(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        Path("/dev/null/x").mkdir()

    monkeypatch.setattr("cli.models.run_models", refused)
    ended = run("models")
    assert (ended.code, ended.out) == (1, "")
    assert "/dev/null/x: Not a directory" in ended.err
    assert "TUNELINE_HOME" in ended.err


def test_a_reader_who_has_seen_enough_causes_no_complaint() -> None:
    process = subprocess.Popen(
        [sys.executable, str(REPO / "run.py"), "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    process.wait()
