"""Releases: stage and traffic move together or not at all, and whatever was interrupted can be run again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from zenml.client import Client

from controlplane import follow
from controlplane.releases import in_production, prove, put_in_production, withdraw
from controlplane.storage import Storage
from controlplane.versions import Version, get_version
from tests.controlplane.registered import MODEL, registered, stages
from tuneline.release import EngineArguments, Release, ReleaseConflict, ReleaseStore, Routes
from tuneline.release.document import BaseRef, Trial

pytestmark = pytest.mark.zenml


def put(name: str, storage: Storage) -> Release:
    return put_in_production(get_version(MODEL, name), storage, "test")


def history(storage: Storage) -> list[Release]:
    return storage.releases(MODEL).history()


@pytest.fixture
def first(storage: Storage) -> Version:
    """Version 1 in production, two releases written."""
    version = registered("a")
    prove(version, storage)
    put("1", storage)
    return get_version(MODEL, "1")


@pytest.fixture
def before_creating(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Release], Release]], None]:
    """Let somebody else write a release between our look at the current one and ours, once."""

    def arrange(theirs: Callable[[Release], Release]) -> None:
        create = ReleaseStore.create

        def overtaken(store: ReleaseStore, release: Release) -> None:
            monkeypatch.setattr(ReleaseStore, "create", create)
            create(store, theirs(release))
            create(store, release)

        monkeypatch.setattr(ReleaseStore, "create", overtaken)

    return arrange


def break_stages_once(monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], Any] = lambda: None) -> None:
    """Let ZenML fail, at the next stage that is set only."""
    set_stage = follow.set_stage

    def broken(*_: Any) -> None:
        monkeypatch.setattr(follow, "set_stage", set_stage)
        meanwhile()
        raise ConnectionError("ZenML is away")

    monkeypatch.setattr(follow, "set_stage", broken)


def test_the_first_version_is_proven_without_traffic_and_then_gets_all_of_it(storage: Storage) -> None:
    version = registered("a")
    proving = prove(version, storage)
    assert proving.adapters == {"v1": version.record.adapter}
    assert proving.routes == Routes(production=None, challenger="v1")
    assert not proving.traffic().get("1")
    assert (proving.base, proving.engine) == (version.record.base, version.record.engine)
    assert stages() == {"1": "staging"}
    assert in_production(MODEL) is None

    release = put_in_production(version, storage, "it is good")
    assert release.traffic() == {"1": 100.0}
    assert (release.sequence, release.reason, release.author) == (2, "it is good", Client().active_user.name)
    assert history(storage) == [proving, release]
    assert stages() == {"1": "production"}


def test_a_version_is_proven_beside_production_which_keeps_all_traffic(first: Version, storage: Storage) -> None:
    second = registered("b")
    proving = prove(second, storage)
    assert proving.adapters == {"v1": first.record.adapter, "v2": second.record.adapter}
    assert proving.routes == Routes(production="v1", challenger="v2", percent=0)
    assert proving.traffic() == {"1": 100.0, "2": 0.0}
    assert stages() == {"1": "production", "2": "staging"}


def test_proving_again_finds_its_own_release_and_writes_none(first: Version, storage: Storage) -> None:
    second = registered("b")
    assert prove(second, storage) == prove(second, storage)
    assert prove(first, storage).sequence == 3  # it is loaded as well
    assert len(history(storage)) == 3


def test_another_version_takes_the_place_of_one_that_was_never_proven(first: Version, storage: Storage) -> None:
    prove(registered("b"), storage)
    proving = prove(registered("c"), storage)
    assert set(proving.adapters) == {"v1", "v3"}
    assert proving.routes == Routes(production="v1", challenger="v3")


def test_traffic_and_stage_move_together_and_the_former_version_stays_loaded(first: Version, storage: Storage) -> None:
    prove(registered("b"), storage)
    release = put("2", storage)
    assert release.traffic() == {"2": 100.0}
    assert set(release.adapters) == {"v1", "v2"}
    assert stages() == {"1": "archived", "2": "production"}


def test_putting_in_production_what_is_there_already_changes_nothing(first: Version, storage: Storage) -> None:
    written = history(storage)
    assert put("1", storage) == written[-1]
    assert history(storage) == written
    assert stages() == {"1": "production"}


def test_a_process_killed_between_release_and_stage_is_completed_by_the_next_run(
    first: Version, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    prove(registered("b"), storage)
    with monkeypatch.context() as patch:
        patch.setattr("controlplane.follow.set_stage", lambda *_: None)  # as far as a killed process gets
        released = put("2", storage)
    assert stages() == {"1": "production", "2": "staging"}
    assert put("2", storage) == released == history(storage)[-1]
    assert stages() == {"1": "archived", "2": "production"}


def test_if_the_stage_cannot_be_moved_the_former_release_is_restored_and_the_next_run_moves_both(
    first: Version, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    proving = prove(registered("b"), storage)
    break_stages_once(monkeypatch)
    with pytest.raises(ConnectionError, match="ZenML is away"):
        put("2", storage)
    *_, attempt, restored = history(storage)
    assert attempt.traffic() == {"2": 100.0}
    assert restored.sequence == attempt.sequence + 1 == 5
    assert "restored" in restored.reason
    own = {"sequence", "reason", "created_at", "author"}
    assert restored.model_dump(exclude=own) == proving.model_dump(exclude=own)
    assert stages() == {"1": "production", "2": "staging"}

    assert put("2", storage).traffic() == {"2": 100.0}
    assert len(history(storage)) == 6
    assert stages() == {"1": "archived", "2": "production"}


def test_what_somebody_else_released_since_is_not_undone_when_the_stage_cannot_be_moved(
    first: Version, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    prove(registered("b"), storage)
    third = registered("c")
    theirs: list[Release] = []
    break_stages_once(monkeypatch, meanwhile=lambda: theirs.append(put_in_production(third, storage, "theirs")))
    with pytest.raises(ConnectionError):
        put("2", storage)
    assert history(storage)[-1] == theirs[0]
    assert stages() == {"1": "archived", "2": "archived", "3": "production"}


def test_of_two_who_release_at_once_the_slower_is_told_and_moves_no_stage(
    first: Version, storage: Storage, before_creating: Callable[[Callable[[Release], Release]], None]
) -> None:
    proving = prove(registered("b"), storage)
    before_creating(lambda ours: proving.model_copy(update={"sequence": ours.sequence, "reason": "theirs"}))
    with pytest.raises(ReleaseConflict, match="release 4 of endpoint 'tiny'"):
        put("2", storage)
    assert [release.reason for release in history(storage)][3:] == ["theirs"]
    assert stages() == {"1": "production", "2": "staging"}

    assert put("2", storage).sequence == 5
    assert stages() == {"1": "archived", "2": "production"}


def test_withdrawing_leaves_production_with_its_traffic_alone(first: Version, storage: Storage) -> None:
    second = registered("b")
    prove(second, storage)
    withdraw(second, storage, "it does not reproduce")
    written = history(storage)
    assert written[-1].adapters == {"v1": first.record.adapter}
    assert written[-1].routes == Routes(production="v1")
    assert (written[-1].sequence, written[-1].reason) == (4, "it does not reproduce")
    assert stages() == {"1": "production", "2": "staging"}

    withdraw(second, storage, "again")
    withdraw(first, storage, "it is no challenger")
    assert history(storage) == written


def test_the_first_version_of_all_is_not_withdrawn_because_nothing_would_be_left(storage: Storage) -> None:
    version = registered("a")
    withdraw(version, storage, "nothing is released yet")
    proving = prove(version, storage)
    withdraw(version, storage, "it does not reproduce")
    assert history(storage) == [proving]


LOCAL = pytest.mark.parametrize("storage", ["local"], indirect=True)  # nothing in these depends on the store
OTHER_ENGINES = pytest.mark.parametrize(
    "other",
    [
        {"engine": EngineArguments(max_lora_rank=8, dtype="float32")},
        {"base": BaseRef(model="org/other")},
        {"whole_model": BaseRef(model="/adapters/b/merged", sha256="f" * 64)},
    ],
    ids=["other engine arguments", "another base model", "a whole model"],
)


@LOCAL
@OTHER_ENGINES
def test_a_version_for_another_engine_is_proven_in_it_while_production_goes_on_and_then_takes_its_place(
    first: Version, storage: Storage, other: dict[str, Any]
) -> None:
    second = registered("b", **other)
    proving = prove(second, storage)
    assert proving.adapters == {"v1": first.record.adapter}
    assert proving.routes == Routes(production="v1")
    assert (proving.base, proving.engine) == (first.record.base, first.record.engine)
    assert proving.traffic() == {"1": 100.0, "2": 0.0}
    served = second.record.served_base
    assert proving.trial == Trial(base=served, engine=second.record.engine, adapter=second.record.adapter)
    assert prove(second, storage) == proving
    moved = put("2", storage)
    assert (set(moved.adapters), moved.trial) == ({"v2"}, None)
    assert (moved.base, moved.engine) == (served, second.record.engine)
    assert stages() == {"1": "archived", "2": "production"}

    back = put("1", storage)
    assert back.adapters == {"v1": first.record.adapter}
    assert (back.base, back.engine) == (first.record.base, first.record.engine)


@LOCAL
@OTHER_ENGINES
def test_withdrawing_a_version_for_another_engine_brings_back_production_on_its_own(
    first: Version, storage: Storage, other: dict[str, Any]
) -> None:
    second = registered("b", **other)
    prove(second, storage)
    withdraw(second, storage, "it does not reproduce")
    now = history(storage)[-1]
    assert (now.adapters, now.trial) == ({"v1": first.record.adapter}, None)
    assert now.routes == Routes(production="v1")
    assert (now.base, now.engine) == (first.record.base, first.record.engine)
    assert now.reason == "it does not reproduce"
