"""Base models are brought to this machine when a release needs them, and go when none does."""

from __future__ import annotations

from pathlib import Path

from serving.base_model import forget_bases
from tuneline.release import BaseRef


def test_copies_of_models_go_when_no_release_needs_them_and_nothing_else_does(tmp_path: Path) -> None:
    names = [letter * 64 for letter in "abc"]
    for name in [*names, "cccccccccccc-being-fetched"]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"0")
    needed = [BaseRef(model="s3://store/a", sha256=names[0]), BaseRef(model="s3://store/b", sha256=names[1])]
    forget_bases(tmp_path, [*needed, BaseRef(model="org/model")])
    assert sorted(path.name for path in tmp_path.iterdir()) == [*names[:2], "cccccccccccc-being-fetched"]
    forget_bases(tmp_path / "nothing was ever fetched", needed)
