"""Two who promote at once: one wins, the other is told, and stage and traffic end at the same version."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from controlplane import follow
from controlplane.history import history
from controlplane.releases import check_current, prove, put_in_production, withdraw
from controlplane.rollback import rollback
from controlplane.storage import Storage
from controlplane.versions import at_stage, get_version
from tests.controlplane.registered import MODEL, registered, stages
from tuneline.paths import REPO
from tuneline.release import ReleaseConflict, ReleaseStore

pytestmark = pytest.mark.zenml
LOCAL = pytest.mark.parametrize("storage", ["local"], indirect=True)


@pytest.fixture
def first(storage: Storage) -> None:
    """Version 1 in production, by release 2."""
    prove(registered("a"), storage)
    put_in_production(get_version(MODEL, "1"), storage, "test")


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """What becomes of acts that begin at the same moment."""
    barrier = threading.Barrier(len(acts))

    def act(number: int) -> Any:
        barrier.wait()
        try:
            return acts[number]()
        except ReleaseConflict as conflict:
            return conflict

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(act, range(len(acts))))


def agrees(storage: Storage) -> str:
    """The version that has the traffic and, which is to be the same, the production stage."""
    current, champion = storage.releases(MODEL).current(), at_stage(MODEL, "production")
    assert current is not None and champion is not None
    assert current.traffic()[champion.name] == 100.0
    return champion.name


def test_of_two_promotions_that_saw_the_same_release_one_wins_and_the_other_is_told(
    storage: Storage, first: None
) -> None:
    challengers = [registered("b"), registered("c")]
    seen = prove(challengers[1], storage).sequence
    results = at_once(
        *(lambda v=version: put_in_production(v, storage, f"from {v.name}", seen=seen) for version in challengers)
    )
    (loser,) = [number for number, result in enumerate(results) if isinstance(result, ReleaseConflict)]
    winner = challengers[1 - loser]
    assert agrees(storage) == winner.name
    assert len(storage.releases(MODEL).history()) == seen + 1
    assert "just now" in results[loser].what or f"from {winner.name}" in results[loser].what
    assert [entry.action for entry in history(challengers[loser])][-1] != "promoted"
    assert history(winner)[-1].action == "promoted"


@LOCAL
def test_two_processes_against_one_store_agree_as_well(storage: Storage, first: None) -> None:
    challengers = [registered("b"), registered("c")]
    seen = prove(challengers[1], storage).sequence
    script = (
        "import sys; from controlplane.releases import put_in_production; from controlplane.storage import Storage\n"
        "from controlplane.versions import get_version\n"
        f"version, storage = get_version({MODEL!r}, sys.argv[1]), Storage({storage.uri!r}, is_local=True)\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        f"print(put_in_production(version, storage, 'test', seen={seen}).sequence)"
    )
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, version.name],
            cwd=REPO,
            env=dict(os.environ),
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
        )
        for version in challengers
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    ended = [(*process.communicate(timeout=120), process.returncode) for process in processes]
    won = [version.name for version, (_, _, code) in zip(challengers, ended, strict=True) if code == 0]
    assert len(won) == 1, ended
    assert agrees(storage) == won[0]
    assert any("ReleaseConflict" in said for _, said, _ in ended)


def test_whoever_is_overtaken_while_proving_hears_by_whom_and_changes_nothing(storage: Storage, first: None) -> None:
    second, third = registered("b"), registered("c")
    mine = prove(second, storage)
    theirs = prove(third, storage)
    said = rf"version 2 got no traffic: \w+ wrote release {theirs.sequence} meanwhile \(prove version 3\)"
    with pytest.raises(ReleaseConflict, match=said):
        check_current("2", storage.releases(MODEL), mine.sequence)
    with pytest.raises(ReleaseConflict, match=said):
        put_in_production(second, storage, "test", seen=mine.sequence)
    withdraw(second, storage, "it gave up")
    assert storage.releases(MODEL).current() == theirs  # the other's proof goes on
    assert stages() == {"1": "production", "2": "archived", "3": "staging"}
    put_in_production(third, storage, "test", seen=theirs.sequence)
    assert agrees(storage) == "3"


@LOCAL
def test_the_same_version_promoted_twice_at_once_is_promoted_once(storage: Storage, first: None) -> None:
    version = registered("b")
    seen = prove(version, storage).sequence
    results = at_once(*[lambda: put_in_production(version, storage, "test", seen=seen)] * 2)
    assert [isinstance(result, ReleaseConflict) for result in results].count(True) == 1
    assert agrees(storage) == "2"
    assert [entry.action for entry in history(version)].count("promoted") == 1


@LOCAL
def test_a_rollback_beside_a_promotion_wins_or_loses_whole(storage: Storage, first: None) -> None:
    prove(registered("b"), storage)
    put_in_production(get_version(MODEL, "2"), storage, "test")
    third = registered("c")
    seen = prove(third, storage).sequence
    results = at_once(
        lambda: rollback(MODEL, storage, "1", "test"), lambda: put_in_production(third, storage, "test", seen=seen)
    )
    lost = [isinstance(result, ReleaseConflict) for result in results]
    if lost == [False, False]:  # one after the other: the rollback saw the promotion, and is the last word
        assert agrees(storage) == "1"
    else:
        assert lost.count(True) == 1
        assert agrees(storage) == ("1" if lost[1] else "3")


@LOCAL
def test_a_stage_that_is_set_late_does_not_take_it_from_a_later_release(
    storage: Storage, first: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    second, third = registered("b"), registered("c")
    set_stage = follow.set_stage

    def slow(*arguments: Any) -> None:  # between the second's release and its stage, the third does both
        monkeypatch.setattr(follow, "set_stage", set_stage)
        put_in_production(third, storage, "later")
        set_stage(*arguments)

    monkeypatch.setattr(follow, "set_stage", slow)
    put_in_production(second, storage, "earlier")
    assert agrees(storage) == "3"


def test_a_writer_between_our_look_and_our_file_wins(
    storage: Storage, first: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    second, third = registered("b"), registered("c")
    create = ReleaseStore.create

    def overtaken(store: ReleaseStore, release: Any) -> None:
        monkeypatch.setattr(ReleaseStore, "create", create)
        put_in_production(third, storage, "faster")
        create(store, release)

    monkeypatch.setattr(ReleaseStore, "create", overtaken)
    with pytest.raises(ReleaseConflict, match="was written by somebody else just now"):
        put_in_production(second, storage, "slower")
    assert agrees(storage) == "3"
    assert [entry.action for entry in history(second)][-1] == "archived"  # from staging, by the third's staging
