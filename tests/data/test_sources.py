"""Reading whole sources: right lines, quarantine instead of silence, and errors that say what to do."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest

from tuneline.data.sources import read_file, read_hub, read_synthetic
from tuneline.errors import UserError

_ROWS = [{"instruction": f"Question {n}?", "input": "", "output": f"Answer {n}\nin two lines"} for n in range(40)]


def _json(path: Path, rows: list[Any]) -> None:
    path.write_text(json.dumps(rows, indent=2))


def _json_lines(path: Path, rows: list[Any]) -> None:
    path.write_text("\n".join(map(json.dumps, rows)))


def _csv(path: Path, rows: list[Any]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _parquet(path: Path, rows: list[Any]) -> None:
    parquet.write_table(arrow.Table.from_pylist(rows), path)


@pytest.mark.parametrize(
    ("name", "write", "third_line"),
    [("a.json", _json, 12), ("a.jsonl", _json_lines, 3), ("a.csv", _csv, 6), ("a.parquet", _parquet, 3)],
)
def test_the_same_rows_are_the_same_data_in_every_kind_of_file(
    tmp_path: Path, name: str, write: Callable[[Path, list[Any]], None], third_line: int
) -> None:
    path = tmp_path / name
    write(path, _ROWS)
    dataset = read_file(path)
    assert len(dataset) == 40
    assert [m.content for m in dataset.records[2].messages] == ["Question 2?", "Answer 2\nin two lines"]
    # The id names the line the row starts on; in Parquet, which has no lines, the row.
    assert dataset.records[2].id == f"{name}:{third_line}"
    assert {record.source for record in dataset.records} == {name}


def test_json_lines_under_the_name_json_are_read_as_such(tmp_path: Path) -> None:
    _json_lines(tmp_path / "a.json", _ROWS)
    assert len(read_file(tmp_path / "a.json")) == 40


def test_a_byte_order_mark_and_blank_lines_do_not_disturb(tmp_path: Path) -> None:
    lines = "\n\n".join(map(json.dumps, _ROWS))
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + lines.encode() + b"\n\n")
    dataset = read_file(tmp_path / "a.jsonl")
    assert dataset.records[1].id == "a.jsonl:3"


def test_limit_reads_from_the_start_and_does_not_look_further(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("\n".join([*map(json.dumps, _ROWS[:5]), "{broken"]))
    assert len(read_file(tmp_path / "a.jsonl", limit=5)) == 5


def test_a_row_that_cannot_be_converted_is_quarantined_with_its_place(tmp_path: Path) -> None:
    rows: list[Any] = [*_ROWS]
    rows[3] = {"instruction": "Who answers this?", "input": "", "output": ""}
    _json(tmp_path / "a.json", rows)
    dataset = read_file(tmp_path / "a.json")
    assert len(dataset) == 39
    (left_out,) = dataset.quarantined
    assert (left_out.file, left_out.line) == (str(tmp_path / "a.json"), 17)
    assert left_out.reason == "the answer is empty"
    assert "Who answers this?" in left_out.excerpt


def test_an_id_that_is_taken_is_quarantined(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]
    rows = [{"id": "same" if n == 7 else f"r{n}", "source": "s", "messages": turns} for n in range(40)]
    rows[9]["id"] = "same"
    _json_lines(tmp_path / "a.jsonl", rows)
    dataset = read_file(tmp_path / "a.jsonl")
    assert dataset.quarantined[0].reason == "the id 'same' is already taken by line 8"
    assert {record.source for record in dataset.records} == {"s"}


def test_too_many_unusable_rows_stop_with_the_first_of_them(tmp_path: Path) -> None:
    rows = [*_ROWS[:10], *({"instruction": "x", "output": ""} for _ in range(2))]
    _json_lines(tmp_path / "a.jsonl", rows)
    with pytest.raises(UserError, match=r"a\.jsonl: 2 of 12 rows .* at most 5% .* line 11: the answer is empty"):
        read_file(tmp_path / "a.jsonl")
    assert len(read_file(tmp_path / "a.jsonl", max_quarantined=0.5)) == 10


def test_no_usable_row_at_all_stops_even_when_all_may_be_unusable(tmp_path: Path) -> None:
    _json_lines(tmp_path / "a.jsonl", [{"instruction": "x", "output": ""}])
    with pytest.raises(UserError, match="1 of 1 rows"):
        read_file(tmp_path / "a.jsonl", max_quarantined=1.0)


def test_columns_may_have_names_of_their_own(tmp_path: Path) -> None:
    _json_lines(tmp_path / "a.jsonl", [{"question": "Why?", "answer": "Because.", "output": "noise"}])
    dataset = read_file(tmp_path / "a.jsonl", columns={"instruction": "question", "output": "answer"})
    assert [m.content for m in dataset.records[0].messages] == ["Why?", "Because."]
    with pytest.raises(UserError, match="'questoin', which no row has") as caught:
        read_file(tmp_path / "a.jsonl", columns={"instruction": "questoin"})
    assert "Did you mean 'question'?" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.json", "", r"a\.json' has no rows"),
        ("a.json", "  \n ", r"a\.json' has no rows"),
        ("a.json", "[]", r"a\.json' has no rows"),
        ("a.csv", "instruction,output\n", r"a\.csv' has no rows"),
        ("a.json", '{"data": [1]}', r"holds one JSON object with the keys 'data', not a list of rows"),
        ("a.json", '[{"a": 1},\n {"a": }]', r"a\.json, line 2, column 8: broken JSON"),
        ("a.json", '[{"a": 1}\n {"a": 2}]', r"line 2, column 2: broken JSON \(Expecting ','"),
        ("a.json", '[{"a": 1}] x', r"line 1, column 12: broken JSON \(Nothing may follow"),
        ("a.json", '[{"a": 1},\n', r"line 2, column 1: broken JSON"),
        ("a.jsonl", '{"instruction": "x"}\n{"instruction: 1}', r"a\.jsonl, line 2, column 2: broken JSON"),
        ("a.jsonl", '[{"a": 1}]', "one JSON list, but its name says one object per line"),
        ("a.csv", "instruction,output\nx,y,z\n", r"line 2: 3 cells, but the header has 2 columns"),
        ("a.csv", 'instruction,output\nx,"y\n', r"broken CSV"),
        ("a.parquet", "nothing of the kind", "not a readable Parquet file"),
        ("a.docx", "text", r"ends in '\.docx', which is no kind this reads"),
        ("a.json", '["one", "two"]', r"line 1: the rows are no objects with columns"),
        (
            "a.json",
            '[{"question": "x", "answer": "y"}]',
            "no known instruction format has the columns 'question', 'answer'",
        ),
    ],
)
def test_a_file_that_is_wrong_as_a_whole_says_what_and_where(
    tmp_path: Path, name: str, content: str, what: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=what) as caught:
        read_file(tmp_path / name)
    assert caught.value.hint
    assert caught.value.exit_code == 2


def test_a_file_that_ends_too_early_is_suspected_to_be_cut_off(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(_ROWS)[:-20])
    with pytest.raises(UserError) as caught:
        read_file(tmp_path / "a.json")
    assert "end too early" in caught.value.hint


def test_a_missing_file_and_a_directory_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.json' does not exist"):
        read_file(tmp_path / "nowhere.json")
    with pytest.raises(UserError, match="is a directory"):
        read_file(tmp_path)


def test_bytes_that_are_not_utf8_are_named_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"instruction": "x", "output": "y"}\n{"instruction": "caf\xe9"}')
    with pytest.raises(UserError, match="line 2: byte 0xe9 is not UTF-8"):
        read_file(tmp_path / "a.jsonl")


def test_the_hub_without_a_connection_is_a_clear_error() -> None:
    with pytest.raises(UserError, match="hub data set 'nobody/nothing'") as caught:
        read_hub("nobody/nothing")
    assert "HF_HUB_OFFLINE" in caught.value.hint


def test_hub_rows_are_converted_like_a_files(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked: dict[str, Any] = {}

    def load_dataset(path: str, **how: Any) -> datasets.Dataset:
        asked.update(how, path=path)
        return datasets.Dataset.from_list(_ROWS)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    dataset = read_hub("tatsu-lab/alpaca", split="train", subset="en", revision="abc", limit=7)
    assert asked == {"path": "tatsu-lab/alpaca", "name": "en", "split": "train", "revision": "abc"}
    assert len(dataset) == 7
    assert dataset.records[0].source == "tatsu-lab/alpaca"


def test_the_generator_is_a_source_too() -> None:
    dataset = read_synthetic(["git", "helm"], 30, seed=1, system="Be brief.")
    assert len(dataset) == 30
    assert dataset.records[0].messages[0].role == "system"
    with pytest.raises(UserError, match="unknown tool 'gti'"):
        read_synthetic(["gti"], 3, seed=1)
