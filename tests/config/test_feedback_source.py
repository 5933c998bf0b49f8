"""A source of feedback in a config: its folder is found, and counts by what is in it."""

from __future__ import annotations

from pathlib import Path

from tests.config.conftest import Fail, Load


def test_its_folder_is_found_and_a_missing_one_is_told_with_its_line(load: Load, fail: Fail, tmp_path: Path) -> None:
    (tmp_path / "endpoint" / "feedback").mkdir(parents=True)
    source = "data.sources.0={type: feedback, folder: endpoint}"
    config = load(overrides=[source])
    assert config.data.sources[0].model_dump()["folder"] == str(tmp_path / "endpoint")
    before = config.fingerprint()
    (tmp_path / "endpoint" / "feedback" / "1.jsonl").write_text("{}\n")
    assert load(overrides=[source]).fingerprint() != before
    assert "an endpoint's folder" in str(fail(overrides=["data.sources.0={type: feedback, folder: nowhere}"]))


def test_a_bucket_is_not_looked_for_on_this_machine(load: Load) -> None:
    config = load(overrides=["data.sources.0={type: feedback, folder: 's3://bucket/endpoints/a', limit: 9}"])
    assert config.data.sources[0].model_dump()["folder"] == "s3://bucket/endpoints/a"


def test_feedback_that_is_trained_on_is_not_asked(fail: Fail) -> None:
    source = "{type: feedback, folder: 's3://bucket/endpoints/a', limit: 100}"
    error = fail(overrides=[f"data.sources.0={source}", f"data.evaluation.sources.0={source}"])
    assert "would measure memory" in str(error)
