"""A canary is one more release beside production: it moves no stage, is written down once, and ends cleanly."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.beside import check_beside
from controlplane.canary import Share, change_share, end_canary, give_share
from controlplane.challenger import TAG, aborted, canary_of, follow_challenger
from controlplane.follow import settle
from controlplane.history import history
from controlplane.releases import prove, put_in_production, withdraw
from controlplane.rollback import rollback
from controlplane.storage import Storage
from controlplane.versions import Version, get_version
from tests.controlplane.registered import MODEL, registered, stages
from tuneline.errors import TunelineError, UserError
from tuneline.release import CanaryBounds, EngineArguments, GatewayArguments, Release, ReleaseConflict, Routes
from tuneline.release.document import BaseRef

pytestmark = [pytest.mark.zenml, pytest.mark.parametrize("storage", ["local"], indirect=True)]

SHARE = Share(percent=10, bounds=CanaryBounds(errors=3))
GATEWAY = GatewayArguments()


@pytest.fixture
def first(storage: Storage) -> Version:
    """Version 1 in production, by release 2."""
    prove(registered("a"), storage)
    put_in_production(get_version(MODEL, "1"), storage, "test")
    return get_version(MODEL, "1")


def canary(version: Version, storage: Storage, share: Share = SHARE, **more: Any) -> Release:
    seen = prove(version, storage, beside=True).sequence
    return give_share(version, storage, share, "trying it", seen=seen, gateway=GATEWAY, **more)


@pytest.fixture
def second(first: Version, storage: Storage) -> Version:
    """Version 2, the challenger with 10 %, by release 4."""
    canary(registered("b"), storage)
    return get_version(MODEL, "2")


def current(storage: Storage) -> Release:
    found = storage.releases(MODEL).current()
    assert found is not None
    return found


def ended_by_gateway(storage: Storage, reason: str = "3 of 50 answers failed, production 0 of 450") -> Release:
    """What a gateway writes when a challenger is too bad: it knows no ZenML."""
    before = current(storage)
    production = before.routes.production or ""
    release = before.model_copy(
        update={
            "sequence": before.sequence + 1,
            "routes": Routes(production=production),
            "adapters": {production: before.adapters[production]},
            "author": f"gateway of {MODEL}",
            "reason": reason,
        }
    )
    storage.releases(MODEL).create(release)
    return release


def told(name: str) -> list[tuple[str, int | None]]:
    return [(entry.action, entry.release) for entry in history(get_version(MODEL, name))]


def test_a_canary_gets_its_share_and_bounds_beside_production_and_moves_no_stage(
    second: Version, storage: Storage
) -> None:
    release = current(storage)
    assert release.traffic() == {"1": 90.0, "2": 10.0}
    assert release.routes.bounds.errors == 3
    assert set(release.adapters) == {"v1", "v2"}
    assert (release.sequence, release.reason, canary_of(release)) == (4, "trying it", "2")
    assert stages() == {"1": "production", "2": "staging"}
    assert TAG in second.tags
    (started,) = [entry for entry in second.events if entry.action == "canary started"]
    assert (started.release, started.percent, started.shadow) == (4, 10, False)
    assert (started.moved_from, started.to, started.who) == ("staging", "staging", release.author)
    assert not started.moves and second.written_stage == "staging"


def test_a_shadow_gets_no_traffic_and_is_a_canary_all_the_same(first: Version, storage: Storage) -> None:
    release = canary(registered("b"), storage, Share(percent=25, shadow=True))
    assert release.traffic() == {"1": 100.0, "2": 0.0}
    assert canary_of(release) == "2"
    assert history(get_version(MODEL, "2"))[-1].shadow


def test_a_version_that_is_only_being_proven_is_no_canary(first: Version, storage: Storage) -> None:
    version = registered("b")
    assert canary_of(prove(version, storage)) is None
    follow_challenger(MODEL, storage)
    assert ("canary started", 3) not in told("2")


def test_beginning_again_after_an_interruption_writes_nothing_new(second: Version, storage: Storage) -> None:
    assert canary(second, storage).sequence == 4
    assert told("2").count(("canary started", 4)) == 1


def test_the_share_of_a_running_canary_is_changed_by_one_release_or_none(second: Version, storage: Storage) -> None:
    more = change_share(MODEL, storage, Share(percent=25, bounds=SHARE.bounds), "it is fine", GATEWAY)
    assert more is not None and more.traffic() == {"1": 75.0, "2": 25.0}
    assert (more.sequence, more.created_at > second.events[-1].when) == (5, True)
    assert told("2")[-1] == ("canary changed", 5)
    assert change_share(MODEL, storage, Share(percent=25, bounds=SHARE.bounds), "again", GATEWAY) is None
    assert current(storage) == more


def test_ending_a_canary_gives_production_all_traffic_and_leaves_the_challenger_staged(
    second: Version, storage: Storage
) -> None:
    release = end_canary(MODEL, storage, "no difference")
    assert release.traffic() == {"1": 100.0}
    assert set(release.adapters) == {"v1"}
    assert stages() == {"1": "production", "2": "staging"}
    assert told("2")[-1] == ("canary ended", 5)
    assert TAG not in get_version(MODEL, "2").tags
    with pytest.raises(UserError, match="no canary of 'tiny' is running"):
        end_canary(MODEL, storage, "again")
    with pytest.raises(UserError, match="no canary of 'tiny' is running"):
        change_share(MODEL, storage, SHARE, "more", GATEWAY)
    assert current(storage) == release


def test_promoting_the_challenger_completes_the_canary(second: Version, storage: Storage) -> None:
    assert prove(second, storage).sequence == 4  # it is proven under the release that it has
    release = put_in_production(second, storage, "it is better", seen=4)
    assert release.traffic() == {"2": 100.0}
    assert set(release.adapters) == {"v1", "v2"}
    assert stages() == {"1": "archived", "2": "production"}
    assert told("2")[-1] == ("promoted", 5)
    assert TAG not in get_version(MODEL, "2").tags
    written = told("2")
    follow_challenger(MODEL, storage)
    assert told("2") == written


def test_what_a_gateway_ended_is_written_down_by_whoever_looks_next_and_once(second: Version, storage: Storage) -> None:
    assert aborted(second) is None
    release = ended_by_gateway(storage)
    for _ in range(2):
        (found,) = [version for version in follow_challenger(MODEL, storage) if version.name == "2"]
        event = aborted(found)
        assert event is not None
        assert (event.who, event.reason, event.release) == ("gateway of tiny", release.reason, 5)
        assert TAG not in found.tags
        assert told("2").count(("canary ended", 5)) == 1
    canary(found, storage)
    assert aborted(get_version(MODEL, "2")) is None  # it has another chance


def test_what_a_gateway_ended_is_written_down_before_the_next_version_is_released(
    second: Version, storage: Storage
) -> None:
    ended_by_gateway(storage)
    settle(MODEL, storage)
    third = registered("c")
    prove(third, storage)
    put_in_production(third, storage, "test")
    follow_challenger(MODEL, storage)
    assert ("canary ended", 5) in told("2")


def test_a_canary_whose_writer_was_killed_before_the_history_is_written_down_by_the_next(
    first: Version, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("controlplane.canary.write_canary", lambda *_: False)
        canary(registered("b"), storage)
    assert ("canary started", 4) not in told("2")
    follow_challenger(MODEL, storage)
    assert told("2")[-1] == ("canary started", 4)
    assert TAG in get_version(MODEL, "2").tags


def test_a_rollback_during_a_canary_ends_the_canary_and_the_next_one_goes_back(
    second: Version, storage: Storage
) -> None:
    put_in_production(second, storage, "test")
    canary(registered("c"), storage)
    version, release = rollback(MODEL, storage, None, "it is rude")
    assert (version.name, release.traffic()) == ("2", {"2": 100.0})
    assert stages() == {"1": "archived", "2": "production", "3": "staging"}
    assert told("3")[-1] == ("canary ended", release.sequence)

    version, release = rollback(MODEL, storage, None, "this one as well")
    assert (version.name, release.traffic()) == ("1", {"1": 100.0})
    assert stages() == {"1": "production", "2": "archived", "3": "staging"}


def test_a_rollback_to_a_named_version_during_a_canary_does_both(second: Version, storage: Storage) -> None:
    put_in_production(second, storage, "test")
    canary(registered("c"), storage)
    release = rollback(MODEL, storage, "1", "both are bad")[1]
    assert release.routes == Routes(production="v1")
    assert stages() == {"1": "production", "2": "archived", "3": "staging"}
    assert told("3")[-1] == ("canary ended", release.sequence)
    assert told("1")[-1] == ("rolled back", release.sequence)

    canary(registered("d"), storage)
    assert rollback(MODEL, storage, "1", "the challenger is bad")[1].routes == Routes(production="v1")
    assert stages()["1"] == "production"


def test_only_one_version_is_compared_at_a_time(second: Version, storage: Storage) -> None:
    third = registered("c")
    for beside in (True, False):
        with pytest.raises(UserError, match=r"a canary of version 2 is running \(10 % of the traffic\)"):
            prove(third, storage, beside=beside)
    assert current(storage).sequence == 4


def test_what_cannot_stand_beside_production_is_told_why(first: Version, storage: Storage) -> None:
    with pytest.raises(UserError, match="it cannot be its own challenger"):
        check_beside(first, current(storage))
    other = {"engine": EngineArguments(max_lora_rank=8, dtype="float32"), "base": BaseRef(model="org/other")}
    second = registered("b", **other)
    with pytest.raises(UserError, match=r"base\.model is org/other, production's /bases/tiny") as refused:
        prove(second, storage, beside=True)
    assert "engine.dtype is float32, production's bfloat16" in refused.value.what
    assert "`python run.py promote 2`" in refused.value.hint
    third = registered("c", whole_model=BaseRef(model="/adapters/c/merged", sha256="f" * 64))
    with pytest.raises(
        UserError, match=r"version 3 is a whole model, base\.model is /adapters/c/merged, .* /bases/tiny"
    ):
        prove(third, storage, beside=True)
    assert current(storage).sequence == 2


def test_without_production_there_is_nothing_to_compare_with(storage: Storage) -> None:
    version = registered("a")
    for release in (None, prove(version, storage)):
        with pytest.raises(UserError, match="there is nothing to compare version 1 with"):
            check_beside(version, release)


def test_a_version_that_did_not_pass_gets_a_share_by_an_override_alone(first: Version, storage: Storage) -> None:
    version = registered("b", None, outcome="FAIL")
    with pytest.raises(TunelineError, match="version 2 gets no traffic: the gate says FAIL"):
        canary(version, storage)
    canary(version, storage, override="on 5 % nobody minds")
    override = get_version(MODEL, "2").override
    assert override is not None and override.override == "on 5 % nobody minds"


def test_whoever_is_overtaken_during_the_proof_starts_no_canary(first: Version, storage: Storage) -> None:
    version = registered("b")
    seen = prove(version, storage).sequence
    withdraw(version, storage, "theirs")
    with pytest.raises(ReleaseConflict, match=r"version 2 got no traffic: \w+ wrote release 4 meanwhile \(theirs\)"):
        give_share(version, storage, SHARE, "test", seen=seen, gateway=GATEWAY)
    assert canary_of(current(storage)) is None


def test_production_is_proven_again_without_ending_the_canary(second: Version, storage: Storage) -> None:
    first = get_version(MODEL, "1")
    assert put_in_production(first, storage, "proven again", seen=prove(first, storage).sequence).sequence == 4
    assert put_in_production(first, storage, "", gateway=GatewayArguments(max_n=2)).traffic() == {"1": 90.0, "2": 10.0}
