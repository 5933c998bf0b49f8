"""What happened to a version is written down once, by whoever gets to it, and stays."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from zenml.client import Client

from controlplane.follow import settle
from controlplane.history import event, history, write
from controlplane.releases import prove, put_in_production
from controlplane.rollback import rollback
from controlplane.storage import Storage
from controlplane.versions import Version, get_version, list_versions, move_to_staging, register
from tests.controlplane.registered import MODEL, record_of, registered, stages
from tuneline.errors import TunelineError
from tuneline.prompts import PromptTemplate

pytestmark = [pytest.mark.zenml, pytest.mark.parametrize("storage", ["local"], indirect=True)]


def deploy(adapter: str, storage: Storage, why: str = "test") -> Version:
    version = registered(adapter)
    prove(version, storage)
    put_in_production(version, storage, why)
    return get_version(MODEL, version.name)


def told(name: str) -> list[tuple[str, str, str, int | None]]:
    """A version's history in short: what, from where, where to, by which release."""
    return [(e.action, e.moved_from, e.to, e.release) for e in history(get_version(MODEL, name))]


def test_every_move_says_who_when_which_verdict_which_data_and_which_prompt(storage: Storage) -> None:
    prompt = PromptTemplate(name="one-command", system="Answer with one command.")
    ids = {"verdict": UUID(int=2), "training_set": UUID(int=3), "evaluation_set": UUID(int=4)}
    unnumbered = record_of("a", **ids)
    record = unnumbered.model_copy(update={"adapter": unnumbered.adapter.model_copy(update={"prompt": prompt})})
    version = move_to_staging(register(MODEL, record, []))
    release = put_in_production(version, storage, "it is good")
    first, second, third = history(version)
    assert [entry.action for entry in (first, second, third)] == ["registered", "staged", "promoted"]
    assert (first.reason, third.reason) == ("It is better than the base model.", "it is good")
    assert (third.when, third.who) == (release.created_at, Client().active_user.name)
    for entry in (first, second, third):
        assert entry.who and entry.when.utcoffset() is not None
        assert (entry.outcome, entry.training_key, entry.report) == ("PASS", "key of a", UUID(int=1))
        assert {name: getattr(entry, name) for name in ids} == ids
        assert entry.prompt == "one-command" and re.fullmatch(r"[0-9a-f]{64}", entry.prompt_sha256)


def test_both_versions_tell_of_a_promotion_and_of_a_rollback(storage: Storage) -> None:
    deploy("a", storage)
    deploy("b", storage, "it is better")
    rollback(MODEL, storage, None, "it is rude")
    assert told("1") == [
        ("registered", "none", "none", None),
        ("staged", "none", "staging", None),
        ("promoted", "staging", "production", 2),
        ("archived", "production", "archived", 4),
        ("rolled back", "archived", "production", 5),
    ]
    assert told("2")[2:] == [("promoted", "staging", "production", 4), ("archived", "production", "archived", 5)]
    assert history(get_version(MODEL, "2"))[-1].reason == "version 1 was rolled back: it is rude"


def test_a_staged_version_whose_place_another_takes_says_so(storage: Storage) -> None:
    registered("a")
    registered("b")
    assert told("1")[-1] == ("archived", "staging", "archived", None)
    assert stages() == {"1": "archived", "2": "staging"}


def test_no_event_is_lost_when_many_write_at_once(storage: Storage) -> None:
    version = registered("a", stage=None)
    events = [event(version, "staged", "staging", f"number {number}") for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda entry: write(version.id, entry), events))
    assert sorted(history(version)[1:], key=lambda entry: entry.when) == events


def test_a_version_that_did_not_pass_needs_an_override_which_stays_with_it(storage: Storage) -> None:
    deploy("a", storage)
    failed = registered("b", stage=None, outcome="FAIL", sentence="It is worse.")
    prove(failed, storage)
    written = storage.releases(MODEL).history()
    with pytest.raises(TunelineError, match="the gate says FAIL"):
        put_in_production(failed, storage, "I like it")
    assert storage.releases(MODEL).history() == written
    assert stages() == {"1": "production", "2": "none"}

    release = put_in_production(failed, storage, "ignored", override="the customer waits")
    assert release.reason == "the gate's FAIL is overridden: the customer waits"
    rollback(MODEL, storage, None, "it was worse indeed")
    rollback(MODEL, storage, "2", "no, it was not")
    deploy("c", storage)
    found = get_version(MODEL, "2")
    assert found.stage == "archived"
    assert found.override is not None
    assert (found.override.override, found.override.who) == ("the customer waits", Client().active_user.name)
    assert (found.override.outcome, found.override.release) == ("FAIL", release.sequence)
    assert get_version(MODEL, "1").override is None


def test_a_process_killed_between_stage_and_history_leaves_it_to_the_next_deploy(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy("a", storage)
    failed = registered("b", stage=None, outcome="INCONCLUSIVE")
    with monkeypatch.context() as patch:
        patch.setattr("controlplane.releases.write_history", lambda *_: None)  # as far as a killed process gets
        release = put_in_production(failed, storage, "", override="we know better")
    assert stages() == {"1": "archived", "2": "production"}
    assert len(told("2")) == 1

    deployed = [version.model_dump(exclude={"events"}) for version in list_versions(MODEL)]
    settle(MODEL, storage)
    assert told("2")[1:] == [("promoted", "none", "production", release.sequence)]
    assert told("1")[-1] == ("archived", "production", "archived", release.sequence)
    found = get_version(MODEL, "2")
    assert found.override is not None and found.override.override == "we know better"
    assert found.override.when == release.created_at

    settle(MODEL, storage)
    assert len(told("2")) == 2
    assert [version.model_dump(exclude={"events"}) for version in list_versions(MODEL)] == deployed


def test_a_process_killed_before_the_stage_leaves_that_to_the_next_deploy_too(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for adapter in "ab":
        deploy(adapter, storage)
    with monkeypatch.context() as patch:
        patch.setattr("controlplane.releases.follow_release", lambda *_: None)
        patch.setattr("controlplane.releases.write_history", lambda *_: None)
        rollback(MODEL, storage, None, "it is rude")
    assert stages() == {"1": "archived", "2": "production"}
    settle(MODEL, storage)
    assert stages() == {"1": "production", "2": "archived"}
    assert told("1")[-1] == ("rolled back", "archived", "production", 5)
    assert told("2")[-1] == ("archived", "production", "archived", 5)


def test_settling_what_is_settled_writes_nothing(storage: Storage) -> None:
    settle(MODEL, storage)
    move_to_staging(registered("a", stage=None))
    settle(MODEL, storage)
    prove(get_version(MODEL, "1"), storage)
    settle(MODEL, storage)
    put_in_production(get_version(MODEL, "1"), storage, "test")
    prove(registered("b"), storage)
    before = list_versions(MODEL)
    settle(MODEL, storage)
    assert list_versions(MODEL) == before
    assert len(told("1")) == 3
