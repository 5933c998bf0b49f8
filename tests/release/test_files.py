"""Adapters are fetched once, and nothing is loaded that is not what was evaluated."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuneline.release.files import ADAPTER_FILES, FingerprintMismatch, fetch, fingerprint


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    for name in ADAPTER_FILES:
        (folder / name).write_text(name)
    (folder / "secret-notes.txt").write_text("not for the engine")
    return folder


def test_fetched_files_are_the_named_ones(adapter: Path, tmp_path: Path) -> None:
    target = fetch(str(adapter), fingerprint(adapter, ADAPTER_FILES), tmp_path / "cache", ADAPTER_FILES)
    assert sorted(path.name for path in target.iterdir()) == sorted(ADAPTER_FILES)


def test_changed_files_are_refused_and_not_kept(adapter: Path, tmp_path: Path) -> None:
    wanted = fingerprint(adapter, ADAPTER_FILES)
    (adapter / ADAPTER_FILES[1]).write_text("tampered")
    with pytest.raises(FingerprintMismatch, match=f"the release names {wanted}"):
        fetch(str(adapter), wanted, tmp_path / "cache", ADAPTER_FILES)
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_was_fetched_is_not_fetched_again(adapter: Path, tmp_path: Path) -> None:
    wanted = fingerprint(adapter, ADAPTER_FILES)
    first = fetch(str(adapter), wanted, tmp_path / "cache", ADAPTER_FILES)
    (adapter / ADAPTER_FILES[0]).unlink()
    assert fetch(str(adapter), wanted, tmp_path / "cache", ADAPTER_FILES) == first


def test_a_missing_file_is_an_error_and_leaves_nothing(adapter: Path, tmp_path: Path) -> None:
    wanted = fingerprint(adapter, ADAPTER_FILES)
    (adapter / ADAPTER_FILES[1]).unlink()
    with pytest.raises(FileNotFoundError):
        fetch(str(adapter), wanted, tmp_path / "cache", ADAPTER_FILES)
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_fingerprint_depends_on_names_and_contents(adapter: Path) -> None:
    before = fingerprint(adapter)
    (adapter / "secret-notes.txt").rename(adapter / "notes.txt")
    assert fingerprint(adapter) != before
