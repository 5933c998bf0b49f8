"""`canary` as a person types it. The pipeline is a stand-in, releases and stages are not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.conftest import Run

if TYPE_CHECKING:
    from zenml.client import Client

    from controlplane.storage import Storage

TINY = ("--set", "name=tiny")
Refused = Callable[..., str]


@pytest.mark.parametrize(
    ("arguments", "pieces"),
    [
        (("2", "--percent", "0"), ["--percent is 0: a challenger's share is above 0 and at most 100", "canary --off"]),
        (("--percent", "101"), ["--percent is 101"]),
        (("2", "--percent", "nan"), ["--percent is nan"]),
        (("2",), ["which share of the traffic is version 2 to get?", "`python run.py canary 2 --percent 10`"]),
        (("2", "--off"), ["--off ends the canary that is running"]),
        (("--off", "--percent", "10"), ["--off ends the canary that is running"]),
        (("--percent", "10", "--override", "why"), ["say which", "canary VERSION --percent 10 --override"]),
        (("--reason", "why"), ["--reason gives a reason for nothing"]),
        (("2", "--percent", "10", "--reason", " "), ["--reason is empty"]),
        (
            ("2", "--percent", "10", "--set", "gate.approval=by_hand"),
            ["needs a reason (gate.approval is by_hand)", 'run.py canary 2 --percent 10 --reason "…"'],
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_words_that_make_no_canary_are_refused_before_zenml_starts(
    refused: Refused, arguments: tuple[str, ...], pieces: list[str]
) -> None:
    said = refused("canary", *arguments)
    for piece in pieces:
        assert piece in said


@pytest.fixture
def storage(zenml_client: Client, run: Run, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """Versions 1 in production and 2 staged; pipelines do what their last steps do, without an endpoint."""
    from controlplane.canary import give_share
    from controlplane.releases import prove, put_in_production
    from controlplane.storage import active_storage
    from controlplane.versions import get_version
    from pipelines import deployment
    from tests.controlplane.registered import registered

    def deployed(name: str, version: str, reason: str, serving: Any, override: str) -> None:
        found = get_version(name, version)
        seen = prove(found, active_storage(), serving.gateway).sequence
        put_in_production(
            found, active_storage(), reason, seen=seen, gateway=serving.gateway, override=override or None
        )

    def shared(name: str, version: str, reason: str, share: Any, serving: Any, override: str) -> None:
        found = get_version(name, version)
        seen = prove(found, active_storage(), serving.gateway, beside=True).sequence
        give_share(
            found, active_storage(), share, reason, seen=seen, gateway=serving.gateway, override=override or None
        )

    monkeypatch.setattr(deployment, "deployment_pipeline", deployed)
    monkeypatch.setattr(deployment, "canary_pipeline", shared)
    for room in ("deploy", "canary"):
        monkeypatch.setattr(f"cli.{room}.check_endpoint", lambda _: None)
    assert run("stop", *TINY).code == 0  # chooses the stack
    registered("a")
    assert run("promote", "1", *TINY).code == 0
    registered("b")
    return active_storage()


def done(run: Run, *arguments: str) -> str:
    ended = run(*arguments, *TINY)
    assert (ended.code, ended.err) == (0, ""), ended
    return ended.out


@pytest.mark.zenml
def test_a_canary_is_begun_shown_changed_and_completed(run: Run, storage: Storage) -> None:
    said = done(run, "canary")
    assert "No canary of 'tiny' is running: version 1 has all the traffic." in said
    assert "python run.py canary VERSION --percent 10" in said

    said = done(run, "canary", "2", "--percent", "10", "--set", "serving.canary.errors=7")
    assert "Version 2 gets 10 % of the traffic beside version 1." in said
    for command in ("canary --off", "promote 2", "canary --percent 25"):
        assert f"python run.py {command}" in said
    current = storage.releases("tiny").current()
    assert current is not None and current.traffic() == {"1": 90.0, "2": 10.0}
    assert current.routes.bounds.errors == 7

    said = done(run, "canary")
    assert "Version 2 gets 10 % of the traffic of 'tiny' beside version 1 since" in said
    assert "from 50 answers of version 2 on" in said and "failed 7, empty 5, overlong 10" in said

    said = done(run, "canary", "--percent", "25")
    assert "Version 2 gets 25 % of the traffic beside version 1." in said
    assert "Version 2 has 25 % already." in done(run, "canary", "2", "--percent", "25")
    assert "Version 2 shadows 25 % of what version 1 is asked; nobody sees its answers." in done(
        run, "canary", "--shadow"
    )
    assert "staging, shadows 25 %" in done(run, "models")
    assert "gets 25 %" in done(run, "canary", "--no-shadow")

    assert "staging, challenger" in done(run, "models")
    rows = json.loads(done(run, "models", "--json"))["versions"]
    assert [row["challenger"] for row in rows] == [None, {"percent": 25.0, "shadow": False}]

    said = done(run, "promote", "2")
    assert "The canary is complete: version 2 has all traffic." in said
    page = done(run, "models", "2")
    for piece in ("canary started, 10 %", "canary changed, 25 % as a shadow", "promoted, staging → production"):
        assert piece in page


@pytest.mark.zenml
def test_ending_works_twice_and_a_version_that_is_not_there_or_fits_not_is_refused(
    run: Run, refused: Refused, storage: Storage
) -> None:
    from tests.controlplane.registered import registered
    from tuneline.release import EngineArguments

    assert "has no version '7'" in refused("canary", "7", "--percent", "5", *TINY)
    assert "it cannot be its own challenger" in refused("canary", "1", "--percent", "5", *TINY)
    assert "no canary of 'tiny' is running" in refused("canary", "--percent", "5", *TINY)
    assert "say which share of the traffic it is to shadow" in refused("canary", "2", "--shadow", *TINY)
    registered("c", None, outcome="FAIL", sentence="It is worse.")
    registered("d", None, engine=EngineArguments(max_lora_rank=8, dtype="float32"))
    assert "engine.dtype is float32" in refused("canary", "4", "--percent", "5", *TINY)
    ended = run("canary", "3", "--percent", "5", *TINY)
    assert ended.code == 3 and 'run.py canary 3 --override "reason"' in ended.out
    history = storage.releases("tiny").sequences()

    said = done(run, "canary", "3", "--percent", "5", "--override", "nobody [minds]")
    assert "The gate said FAIL and was overridden: nobody [minds]" in said
    assert "a canary of version 3 is running (5 % of the traffic)" in refused("canary", "2", "--percent", "5", *TINY)
    assert "a canary of version 3 is running" in refused("promote", "2", *TINY)
    assert "The canary of version 3 has ended: version 1 has all the traffic." in done(run, "canary", "--off")
    assert "No canary of 'tiny' is running." in done(run, "canary", "--off")
    assert storage.releases("tiny").sequences()[len(history) :] == [history[-1] + number for number in (1, 2, 3)]
    assert "Version 3 is there by override" in done(run, "models")


@pytest.mark.zenml
def test_a_canary_that_a_gateway_ended_is_shown_with_its_reason(run: Run, storage: Storage) -> None:
    from tuneline.release import Routes

    done(run, "canary", "2", "--percent", "10")
    before = storage.releases("tiny").current()
    assert before is not None
    ended = {"routes": Routes(production="v1"), "author": "gateway of tiny", "reason": "12 % [of 50] answers failed"}
    storage.releases("tiny").create(before.model_copy(update={"sequence": before.sequence + 1, **ended}))

    assert "Version 2's canary was ended by a gateway" in (said := done(run, "models"))
    assert "12 % [of 50] answers failed" in said and "challenger" not in said
    assert "The last one that a gateway ended was version 2's" in (said := done(run, "canary"))
    assert "12 % [of 50] answers failed" in said
    assert "canary ended, release" in (said := done(run, "models", "2"))
    assert "by gateway of tiny" in said
    (row,) = [row for row in json.loads(done(run, "models", "--json"))["versions"] if row["version"] == "2"]
    assert row["canary_ended_by_gateway"]["reason"] == "12 % [of 50] answers failed"


@pytest.mark.zenml
def test_deploy_moves_no_traffic_while_a_canary_runs_and_rollback_ends_it(
    run: Run, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace

    from tests.controlplane.registered import registered, stages

    monkeypatch.setattr("controlplane.endpoint.make_live", lambda *_: (SimpleNamespace(url="http://here"), False))
    done(run, "canary", "2", "--percent", "10")
    said = done(run, "deploy")
    assert "A canary of version 2 is running" in said and "python run.py promote 2" in said
    registered("c")
    said = done(run, "deploy", "--no-cache")
    assert "Version 3 passed the gate, is staged and waits until the canary has ended." in said
    current = storage.releases("tiny").current()
    assert current is not None and current.traffic() == {"1": 90.0, "2": 10.0}

    said = done(run, "rollback")
    assert "The canary of version 2 has ended." in said
    assert "gives version 1 all traffic; the endpoint is not running" in said
    assert stages() == {"1": "production", "2": "archived", "3": "staging"}


@pytest.mark.zenml
def test_deploy_releases_changed_settings_once_and_says_what_changed(
    run: Run, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace

    monkeypatch.setattr("controlplane.endpoint.make_live", lambda *_: (SimpleNamespace(url="http://here"), False))
    done(run, "deploy")  # version 2
    written = storage.releases("tiny").sequences()
    assert "settings changed" not in done(run, "deploy")
    more = ("--set", "serving.gateway.max_tokens=1024")
    said = done(run, "deploy", *more)
    assert "gateway settings changed: max_tokens none → 1024" in said
    assert "settings changed" not in done(run, "deploy", *more)
    assert storage.releases("tiny").sequences() == [*written, written[-1] + 1]
    done(run, "rollback")
    current = storage.releases("tiny").current()
    assert current is not None and current.gateway.max_tokens == 1024
