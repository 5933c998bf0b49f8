"""A state is in the store whole or not at all, on a disk and in a bucket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from tuneline.training.durable.store import CheckpointStore, Unusable, step_name


@pytest.fixture(params=["disk", "bucket"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "disk":
        yield str(tmp_path / "checkpoints")
        return
    yield f"memory://{tmp_path.name}/checkpoints"
    fsspec.filesystem("memory").store.clear()


def _state(tmp_path: Path, text: str) -> Path:
    source = tmp_path / f"state-{text}"
    (source / "inner").mkdir(parents=True)
    (source / "weights").write_text(text)
    (source / "inner" / "more").write_text(text)
    return source


def test_what_was_put_is_what_comes_back_and_the_newest_are_kept(folder: str, tmp_path: Path) -> None:
    store = CheckpointStore(folder, {}, "a job")
    assert store.steps() == []
    for step in (5, 10, 15):
        store.put(_state(tmp_path, str(step)), step_name(step))
    store.keep_newest(2)
    assert store.steps() == [15, 10]
    store.get(step_name(10), tmp_path / "back")
    assert (tmp_path / "back" / "inner" / "more").read_text() == "10"
    store.put(_state(tmp_path, "again"), step_name(10))
    store.get(step_name(10), tmp_path / "newer")
    assert (tmp_path / "newer" / "weights").read_text() == "again"
    with pytest.raises(FileNotFoundError):
        store.get("finished", tmp_path / "none")


@pytest.mark.parametrize("lost", ["weights", "inner/more", "manifest.json"])
def test_a_state_without_one_of_its_files_is_none(folder: str, tmp_path: Path, lost: str) -> None:
    store = CheckpointStore(folder, {}, "a job")
    store.put(_state(tmp_path, "x"), step_name(1))
    fs, root = fsspec.url_to_fs(folder)
    fs.rm_file(f"{root}/{step_name(1)}/{lost}")
    with pytest.raises(Unusable, match=r"damaged|incomplete"):
        store.get(step_name(1), tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_failed_write_leaves_the_state_that_was_there(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CheckpointStore(folder, {}, "a job")
    store.put(_state(tmp_path, "good"), step_name(1))
    monkeypatch.setattr("tuneline.training.durable.store.shutil.copytree", _no_room)
    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.put_file", _no_room)
    with pytest.raises(OSError, match="No space"):
        store.put(_state(tmp_path, "bad"), step_name(2))
    monkeypatch.undo()
    store.keep_newest(2)
    store.get(step_name(1), tmp_path / "back")
    with pytest.raises((FileNotFoundError, Unusable)):
        store.get(step_name(2), tmp_path / "none")


def _no_room(*args: object, **kwargs: object) -> None:
    raise OSError(28, "No space left on device")
