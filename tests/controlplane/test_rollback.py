"""Rollback: one more release, to a version that had the traffic before; what is refused changes nothing."""

from __future__ import annotations

import pytest

from controlplane.releases import prove, put_in_production
from controlplane.rollback import rollback
from controlplane.storage import Storage
from controlplane.versions import get_version
from tests.controlplane.registered import MODEL, registered, stages
from tuneline.errors import UserError
from tuneline.release import EngineArguments, Release, ReleaseStore
from tuneline.release.document import BaseRef

pytestmark = pytest.mark.zenml
LOCAL = pytest.mark.parametrize("storage", ["local"], indirect=True)  # nothing in these depends on the store


def deploy(adapter: str, storage: Storage) -> None:
    version = registered(adapter)
    prove(version, storage)
    put_in_production(version, storage, "test")


def history(storage: Storage) -> list[Release]:
    return storage.releases(MODEL).history()


def refused(storage: Storage, to: str | None, why: str) -> None:
    written, staged = history(storage), stages()
    with pytest.raises(UserError, match=why):
        rollback(MODEL, storage, to, "test")
    assert history(storage) == written
    assert stages() == staged


def test_without_a_name_the_version_before_gets_traffic_and_stage_back(storage: Storage) -> None:
    for adapter in "abc":
        deploy(adapter, storage)
    version, release = rollback(MODEL, storage, None, "it was rude")
    assert version.name == "2"
    assert release == history(storage)[-1]
    assert release.traffic() == {"2": 100.0}
    assert release.adapters["v2"] == version.record.adapter
    assert set(release.adapters) == {"v2", "v3"}  # loaded already, so that it takes no load
    assert (release.sequence, release.reason) == (7, "it was rude")
    assert stages() == {"1": "archived", "2": "production", "3": "archived"}


@LOCAL
def test_any_earlier_version_can_be_named(storage: Storage) -> None:
    for adapter in "abc":
        deploy(adapter, storage)
    version, release = rollback(MODEL, storage, "1", "test")
    assert (version.name, release.traffic()) == ("1", {"1": 100.0})
    assert stages() == {"1": "production", "2": "archived", "3": "archived"}
    assert rollback(MODEL, storage, "2", "test")[1].traffic() == {"2": 100.0}
    assert stages() == {"1": "archived", "2": "production", "3": "archived"}


@LOCAL
def test_a_version_that_is_being_proven_is_taken_out(storage: Storage) -> None:
    for adapter in "ab":
        deploy(adapter, storage)
    prove(registered("c"), storage)
    version, release = rollback(MODEL, storage, None, "test")
    assert (version.name, release.routes.challenger) == ("1", None)
    assert set(release.adapters) == {"v1", "v2"}
    assert stages() == {"1": "production", "2": "archived", "3": "staging"}


@LOCAL
def test_what_cannot_be_gone_back_to_is_refused_and_nothing_changes(storage: Storage) -> None:
    refused(storage, None, "has never had a version in production")
    prove(registered("a"), storage)
    refused(storage, None, "has never had a version in production")
    put_in_production(get_version(MODEL, "1"), storage, "test")
    refused(storage, None, "version 1 is the only one 'tiny' has ever served")
    refused(storage, "1", "version 1 is in production already")
    prove(registered("b"), storage)
    refused(storage, "2", r"version 2 of 'tiny' was never in production \(earlier ones: none\)")
    refused(storage, None, "the only one")
    refused(storage, "7", "version 7 of 'tiny' was never in production")


@LOCAL
def test_a_version_that_was_deleted_is_passed_over(storage: Storage) -> None:
    from zenml.client import Client

    for adapter in "abc":
        deploy(adapter, storage)
    Client().delete_model_version(get_version(MODEL, "2").id)
    refused(storage, "2", "version 2 of 'tiny' was never in production")
    assert rollback(MODEL, storage, None, "test")[0].name == "1"


@LOCAL
def test_a_rollback_killed_between_release_and_stage_is_not_run_backwards_by_the_next_one(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for adapter in "ab":
        deploy(adapter, storage)
    with monkeypatch.context() as patch:
        patch.setattr("controlplane.follow.set_stage", lambda *_: None)  # as far as a killed process gets
        rollback(MODEL, storage, None, "version 2 is bad")
    assert stages() == {"1": "archived", "2": "production"}

    # "The version before" would be the bad one: its user has to say it.
    refused(storage, None, "version 1 has the traffic but version 2 the production stage")
    written = history(storage)
    assert rollback(MODEL, storage, "1", "version 2 is bad")[1] == written[-1]
    assert history(storage) == written
    assert stages() == {"1": "production", "2": "archived"}


@LOCAL
def test_a_version_whose_stage_could_not_be_moved_was_never_in_production(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for adapter in "ab":
        deploy(adapter, storage)
    third = registered("c")

    def away(*_: object) -> None:
        raise ConnectionError("ZenML is away")

    with monkeypatch.context() as patch:
        patch.setattr("controlplane.follow.set_stage", away)
        with pytest.raises(ConnectionError):
            put_in_production(third, storage, "test")
    assert [release.routes.production for release in history(storage)][-2:] == ["v3", "v2"]
    refused(storage, "3", r"version 3 of 'tiny' was never in production \(earlier ones: 1\)")
    assert rollback(MODEL, storage, None, "test")[0].name == "1"


@LOCAL
def test_any_of_many_versions_can_be_gone_back_to_with_few_looks_at_the_store(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for adapter in "abcdef":
        deploy(adapter, storage)
    looks: list[int] = []
    read = ReleaseStore.read
    monkeypatch.setattr(ReleaseStore, "read", lambda store, number: looks.append(number) or read(store, number))
    for target in "2514":
        looks.clear()
        assert rollback(MODEL, storage, target, "test")[1].traffic() == {target: 100.0}
        assert stages()[target] == "production"
        assert len(looks) <= 4
        assert min(looks) >= 10


@LOCAL
def test_a_trial_in_another_engine_is_ended_by_going_back_to_production_by_its_name(storage: Storage) -> None:
    deploy("a", storage)
    prove(registered("b", engine=EngineArguments(max_lora_rank=16)), storage)
    assert history(storage)[-1].trial is not None
    _, release = rollback(MODEL, storage, "1", "the engine does not start")
    assert release.traffic() == {"1": 100.0}
    assert (release.engine, release.trial, release.sequence) == (EngineArguments(max_lora_rank=8), None, 4)
    assert stages()["1"] == "production"
    refused(storage, "1", "in production already")


@LOCAL
def test_going_back_to_a_version_of_another_base_model_brings_that_one_back(storage: Storage) -> None:
    deploy("a", storage)
    whole = BaseRef(model="/adapters/b/merged", sha256="f" * 64)
    second = registered("b", whole_model=whole)
    prove(second, storage)
    assert put_in_production(second, storage, "test").base == whole
    _, back = rollback(MODEL, storage, None, "the adapter was better")
    assert (back.base, set(back.adapters), back.traffic()) == (second.record.base, {"v1"}, {"1": 100.0})
    _, again = rollback(MODEL, storage, "2", "it was not")
    assert (again.base, set(again.adapters), again.traffic()) == (whole, {"v2"}, {"2": 100.0})
    assert stages() == {"1": "archived", "2": "production"}
