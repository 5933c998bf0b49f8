"""Checkpoints that nobody came back for do not stay for ever, those of running trainings do."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tuneline import paths

pytestmark = pytest.mark.zenml


def test_only_what_was_not_written_to_for_two_weeks_is_removed(tmp_path: Path) -> None:
    from controlplane.checkpoints import remove_given_up
    from controlplane.storage import Storage

    root = Path(paths.checkpoints_root(str(tmp_path)))
    for job, days in {"given-up": 20, "begun-long-ago": 20, "young": 1}.items():
        file = root / job / "step-00000001" / "manifest.json"
        file.parent.mkdir(parents=True)
        file.write_text("{}")
        os.utime(file, (time.time() - days * 86400,) * 2)
    (root / "begun-long-ago" / "step-00000002").mkdir()
    (root / "begun-long-ago" / "step-00000002" / "manifest.json").write_text("{}")
    (root / "just-begun").mkdir()

    remove_given_up(Storage(str(tmp_path), is_local=True))
    assert sorted(path.name for path in root.iterdir()) == ["begun-long-ago", "just-begun", "young"]
    remove_given_up(Storage(str(tmp_path / "empty"), is_local=True))
