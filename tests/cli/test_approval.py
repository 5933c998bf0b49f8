"""Approval by hand, overrides, and what `models` shows of them. The pipeline itself is not run here."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.conftest import Run

if TYPE_CHECKING:
    from zenml.client import Client

pytestmark = pytest.mark.zenml

TINY = ("--set", "name=tiny")
BY_HAND = (*TINY, "--set", "gate.approval=by_hand")


@pytest.fixture
def deployments(zenml_client: Client, run: Run, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the deployment pipeline is asked for; the stage and the release are moved as its last step does."""
    from controlplane.releases import prove, put_in_production
    from controlplane.storage import active_storage
    from controlplane.versions import get_version
    from pipelines import deployment

    asked: list[tuple[Any, ...]] = []

    def deployed(name: str, version: str, reason: str, _serving: Any, override: str) -> None:
        asked.append((version, reason, override))
        found = get_version(name, version)
        seen = prove(found, active_storage()).sequence
        put_in_production(found, active_storage(), reason, seen=seen, override=override or None)

    monkeypatch.setattr(deployment, "deployment_pipeline", deployed)
    monkeypatch.setattr("cli.deploy.check_endpoint", lambda _: None)
    assert run("stop", *TINY).code == 0  # chooses the stack
    return asked


def test_where_approval_is_by_hand_deploy_leaves_the_staged_version_waiting(
    run: Run, deployments: list[tuple[Any, ...]]
) -> None:
    from tests.controlplane.registered import registered, stages

    registered("a")
    ended = run("deploy", *BY_HAND)
    assert (ended.code, ended.err) == (0, "")
    assert "Version 1 passed the gate, is staged and waits for approval" in ended.out
    assert 'python run.py promote 1 --reason "…"' in ended.out
    assert "Endpoint" not in ended.out
    assert deployments == []
    assert stages() == {"1": "staging"}

    ended = run("promote", "1", *BY_HAND, "--reason", " the customer has seen it ")
    assert ended.code == 0, ended
    assert deployments == [("1", "the customer has seen it", "")]
    assert stages() == {"1": "production"}


def test_where_approval_is_automatic_a_staged_version_is_deployed_and_promote_needs_no_reason(
    run: Run, deployments: list[tuple[Any, ...]]
) -> None:
    from tests.controlplane.registered import registered

    registered("a")
    assert run("promote", "1", *TINY).code == 0
    assert deployments == [("1", "promoted by hand", "")]


def test_a_version_that_did_not_pass_is_promoted_by_an_override_alone_and_marked_for_ever(
    run: Run, refused: Callable[..., str], deployments: list[tuple[Any, ...]]
) -> None:
    from controlplane.rollback import rollback
    from controlplane.storage import active_storage
    from tests.controlplane.registered import MODEL, registered, stages

    registered("a")
    run("promote", "1", *TINY)
    registered("b", None, outcome="FAIL", sentence="It is worse [by much].")
    assert run("promote", "2", *TINY, "--reason", "I like it").code == 3
    assert stages() == {"1": "production", "2": "none"}

    ended = run("promote", "2", *TINY, "--override", "the customer [waits]")
    assert ended.code == 0, ended
    assert deployments[1:] == [("2", "the customer [waits]", "the customer [waits]")]
    assert "The gate said FAIL and was overridden: the customer [waits]" in ended.out
    rollback(MODEL, active_storage(), None, "it was worse")

    table = run("models", *TINY).out
    assert "FAIL, overridden" in table
    assert "Version 2 is there by override: the customer [waits]" in table
    page = run("models", "2", *TINY).out
    for piece in ("FAIL, overridden", "It is worse [by much].", "the customer [waits]", "default", "none → production"):
        assert piece in page
    document = json.loads(run("models", "--json", *TINY).out)
    assert [row["override"] for row in document["versions"]] == [None, "the customer [waits]"]
    document = json.loads(run("models", "2", "--json", *TINY).out)
    assert (document["verdict"], document["record"]["sentence"]) == ("FAIL", "It is worse [by much].")
    assert [entry["action"] for entry in document["history"]] == ["registered", "promoted", "archived"]
    assert document["history"][1]["override"] == "the customer [waits]"


def test_a_version_that_passed_has_nothing_to_override(
    run: Run, refused: Callable[..., str], deployments: list[tuple[Any, ...]]
) -> None:
    from tests.controlplane.registered import registered, stages

    registered("a")
    said = refused("promote", "1", *TINY, "--override", "to be sure")
    assert "version 1 passed the gate: there is nothing to override" in said
    assert deployments == []
    assert stages() == {"1": "staging"}
