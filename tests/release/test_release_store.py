"""One immutable file per release, and only one writer for each number."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from pydantic import ValidationError

from tuneline.release import AdapterRef, BaseRef, Release, ReleaseConflict, ReleaseStore, Routes


def _release(sequence: int, **changes: object) -> Release:
    adapter = AdapterRef(uri="/adapters/1", sha256="0" * 64, model_version="1", rank=8)
    fields: dict[str, object] = {
        "endpoint": "tiny",
        "sequence": sequence,
        "base": BaseRef(model="Qwen/Qwen3-0.6B"),
        "adapters": {"v1": adapter},
        "routes": Routes(production="v1"),
        "author": "ada",
        "reason": "test",
    }
    return Release.model_validate(fields | changes)


def test_an_empty_store_has_no_current_release(tmp_path: Path) -> None:
    assert ReleaseStore(str(tmp_path / "none")).current() is None


def test_the_highest_number_is_current(tmp_path: Path) -> None:
    store = ReleaseStore(str(tmp_path))
    for number in (1, 2, 3):
        store.append(lambda sequence, _, n=number: _release(sequence, reason=f"number {n}"))
    current = store.current()
    assert current is not None and (current.sequence, current.reason) == (3, "number 3")
    assert [release.sequence for release in store.history()] == [1, 2, 3]


def test_a_number_is_written_once_and_the_second_writer_is_told(tmp_path: Path) -> None:
    store = ReleaseStore(str(tmp_path))
    store.create(_release(1, reason="first"))
    with pytest.raises(ReleaseConflict, match="release 1 of endpoint 'tiny'"):
        store.create(_release(1, reason="second"))
    assert store.read(1).reason == "first"


def test_of_many_writers_exactly_one_wins(tmp_path: Path) -> None:
    outcomes: list[str] = []

    def write(name: str) -> None:
        try:
            ReleaseStore(str(tmp_path)).create(_release(1, author=name))
            outcomes.append(name)
        except ReleaseConflict:
            outcomes.append("told")

    threads = [threading.Thread(target=write, args=(f"writer-{i}",)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [outcome for outcome in outcomes if outcome != "told"]
    assert len(winners) == 1 and ReleaseStore(str(tmp_path)).read(1).author == winners[0]
    assert [path.name for path in tmp_path.iterdir()] == ["00000001.json"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"routes": Routes(production="v9")}, "routes.production is 'v9'"),
        ({"routes": Routes(production="v1", percent=5)}, "there is no challenger"),
        ({"endpoint": "Not A Name"}, "endpoint"),
    ],
)
def test_a_release_that_contradicts_itself_cannot_be_made(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        _release(1, **changes)


def test_an_adapter_above_the_engines_rank_cannot_be_released() -> None:
    adapter = AdapterRef(uri="/a", sha256="0" * 64, model_version="1", rank=64)
    with pytest.raises(ValidationError, match="rank 64, the engine takes at most 16"):
        _release(1, adapters={"v1": adapter})


def test_traffic_is_shared_between_production_and_challenger() -> None:
    adapters = {f"v{n}": AdapterRef(uri="/a", sha256=str(n) * 64, model_version=str(n), rank=8) for n in (1, 2)}
    release = _release(1, adapters=adapters, routes=Routes(production="v1", challenger="v2", percent=25))
    assert release.traffic() == {"1": 75.0, "2": 25.0}
