"""What users said of answers, read as training data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tuneline.config import FeedbackSource
from tuneline.data.feedback import read_feedback
from tuneline.data.feedback_files import feedback_fingerprint
from tuneline.data.load import read_source
from tuneline.errors import UserError


def line(about: str, answer: str | None = None, **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"id": f"feedback-{about}-{answer}", "source": "feedback", "request_id": about}
    if answer is not None:
        turns = [{"role": "user", "content": f"{about}?"}, {"role": "assistant", "content": answer}]
        found["messages"] = turns
    return found | {"rating": "down", "corrected": True, "version": "1"} | fields


def write(folder: Path, name: str, *lines: Any) -> None:
    place = folder / "feedback"
    place.mkdir(exist_ok=True)
    texts = (item if isinstance(item, str) else json.dumps(item, ensure_ascii=False) for item in lines)
    (place / f"{name}.jsonl").write_text("".join(f"{text}\n" for text in texts))


def test_corrections_and_good_answers_are_learned_from_and_mere_ratings_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "1", line("a", "right"), line("b"))
    write(tmp_path, "2", line("c", "good\u2028one", rating="up", corrected=False))
    dataset = read_feedback(str(tmp_path))
    assert [record.reference for record in dataset.records] == ["right", "good\u2028one"]
    assert {record.source for record in dataset.records} == {"feedback"}
    assert not dataset.quarantined
    assert [r.reference for r in read_feedback(str(tmp_path), corrections_only=True).records] == ["right"]


def test_the_last_word_about_an_answer_counts_also_if_it_takes_an_earlier_one_back(tmp_path: Path) -> None:
    write(tmp_path, "1", line("a", "first"), line("b", "wrong"))
    write(tmp_path, "2", line("a", "second"), line("b"))
    assert [record.reference for record in read_feedback(str(tmp_path)).records] == ["second"]


def test_the_limit_keeps_the_newest(tmp_path: Path) -> None:
    write(tmp_path, "2", line("c", "3"))
    write(tmp_path, "1", line("a", "1"), line("b", "2"))
    assert [record.reference for record in read_feedback(str(tmp_path), limit=2).records] == ["2", "3"]


def test_a_broken_line_is_put_aside_with_its_file_and_too_many_stop_the_run(tmp_path: Path) -> None:
    write(tmp_path, "1", *(line(str(n), "x") for n in range(30)), '{"id": "cut o')
    (row,) = read_feedback(str(tmp_path)).quarantined
    assert (Path(row.file).name, row.line) == ("1.jsonl", 31)
    assert "not JSON" in row.reason
    with pytest.raises(UserError, match="1 of 31 rows"):
        read_feedback(str(tmp_path), max_quarantined=0.01)


def test_an_endpoint_without_feedback_is_told_with_what_to_send(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no feedback to train on") as caught:
        read_feedback(str(tmp_path))
    assert "POST /v1/feedback" in (caught.value.hint or "")


def test_a_storage_that_does_not_answer_is_told_as_such() -> None:
    for read in (read_feedback, feedback_fingerprint):
        with pytest.raises(UserError, match=r"feedback in nosuch://x cannot be read"):
            read("nosuch://x")


def test_the_config_names_the_folder_and_new_feedback_is_another_experiment(tmp_path: Path) -> None:
    write(tmp_path, "1", line("a", "right"))
    source = FeedbackSource(type="feedback", folder=str(tmp_path), corrections_only=True)
    assert len(read_source(source, 0.05)) == 1
    before = feedback_fingerprint(source.folder)
    assert feedback_fingerprint(source.folder) == before
    write(tmp_path, "2", line("b", "more"))
    assert feedback_fingerprint(source.folder) != before
