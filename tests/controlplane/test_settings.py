"""The gateway's settings travel with releases: deploy brings the config's, going back keeps those of today."""

from __future__ import annotations

import pytest

from controlplane import follow
from controlplane.canary import Share, give_share
from controlplane.releases import prove, put_in_production, withdraw
from controlplane.rollback import rollback
from controlplane.settings import follow_settings
from controlplane.storage import Storage
from tests.controlplane.registered import MODEL, registered, stages
from tuneline.release import CanaryBounds, GatewayArguments, Release

pytestmark = [pytest.mark.zenml, pytest.mark.parametrize("storage", ["local"], indirect=True)]

OLD, NEW = GatewayArguments(max_tokens=512), GatewayArguments(max_tokens=1024, wait_seconds=2.5)
BOUNDS = CanaryBounds()


@pytest.fixture
def served(storage: Storage) -> None:
    """Version 1 and then version 2 in production, with the old settings; four releases."""
    for adapter in "ab":
        version = registered(adapter)
        prove(version, storage, OLD)
        put_in_production(version, storage, "test", gateway=OLD)


def current(storage: Storage) -> Release:
    found = storage.releases(MODEL).current()
    assert found is not None
    return found


def test_other_settings_are_one_release_that_says_what_changed_and_nothing_else_moves(
    served: None, storage: Storage
) -> None:
    before = current(storage)
    release = follow_settings(MODEL, storage, NEW, BOUNDS)
    assert release == current(storage)
    assert release.reason == "gateway settings changed: max_tokens 512 → 1024, wait_seconds 30 → 2.5"
    assert (release.sequence, release.gateway) == (5, NEW)
    own = {"sequence", "gateway", "created_at", "author", "reason"}
    assert release.model_dump(exclude=own) == before.model_dump(exclude=own)
    assert release.created_at > before.created_at
    assert stages() == {"1": "archived", "2": "production"}
    assert follow_settings(MODEL, storage, NEW, BOUNDS) is None
    assert current(storage) == release


def test_bounds_count_only_while_a_canary_runs(served: None, storage: Storage) -> None:
    assert follow_settings(MODEL, storage, OLD, CanaryBounds(ttft=3)) is None
    third = registered("c")
    seen = prove(third, storage).sequence
    assert follow_settings(MODEL, storage, OLD, CanaryBounds(ttft=3)) is None
    give_share(third, storage, Share(percent=10), "test", seen=seen, gateway=OLD)
    release = follow_settings(MODEL, storage, OLD, CanaryBounds(ttft=3))
    assert release is not None
    assert release.reason == "gateway settings changed: canary.ttft 2 → 3"
    assert release.traffic() == {"2": 90.0, "3": 10.0}


def test_nothing_is_released_before_the_first_version(storage: Storage) -> None:
    assert follow_settings(MODEL, storage, NEW, BOUNDS) is None
    prove(registered("a"), storage)
    assert follow_settings(MODEL, storage, NEW, BOUNDS) is None


def test_going_back_keeps_the_settings_of_today(served: None, storage: Storage) -> None:
    follow_settings(MODEL, storage, NEW, BOUNDS)
    assert rollback(MODEL, storage, None, "test")[1].gateway == NEW
    third = registered("c")
    assert prove(third, storage).gateway == NEW
    withdraw(third, storage, "it does not reproduce")
    assert current(storage).gateway == NEW
    assert current(storage).routes.production == "v1"


def test_a_release_that_is_restored_keeps_the_settings_of_today(
    served: None, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    third = registered("c")
    prove(third, storage)

    def away(*_: object) -> None:
        raise ConnectionError("ZenML is away")

    monkeypatch.setattr(follow, "set_stage", away)
    with pytest.raises(ConnectionError):
        put_in_production(third, storage, "test", gateway=NEW)
    assert current(storage).reason == "stage could not be moved: restored"
    assert (current(storage).routes.production, current(storage).gateway) == ("v2", NEW)


def test_promoting_the_same_version_with_other_settings_is_a_release(served: None, storage: Storage) -> None:
    from controlplane.versions import get_version

    second = get_version(MODEL, "2")
    assert put_in_production(second, storage, "test", gateway=OLD).sequence == 4
    assert put_in_production(second, storage, "test", gateway=NEW).gateway == NEW
    assert current(storage).sequence == 5
