"""The deployment pipeline itself, run by ZenML; endpoint and parity are stand-ins, releases and stages are not."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from zenml.client import Client

from controlplane.canary import Share
from controlplane.history import history
from controlplane.releases import prove
from controlplane.storage import Storage, active_storage
from controlplane.versions import get_version
from pipelines.deployment import canary_pipeline, deployment_pipeline
from steps.release import prove as steps
from tests.controlplane.registered import MODEL, registered, stages
from tuneline.config import ServingConfig
from tuneline.errors import TunelineError
from tuneline.release import BaseRef, GatewayArguments, ReleaseConflict
from tuneline.release.parity import ParityReport, PromptParity

pytestmark = pytest.mark.zenml

Proof = Callable[[], None]


@pytest.fixture
def stack(zenml_client: Any) -> Storage:
    """The local stack without MLflow's import: the default one has no tracker."""
    return active_storage()


@pytest.fixture
def proving(monkeypatch: pytest.MonkeyPatch) -> Callable[[Proof], None]:
    """An endpoint that is live at once, and a proof that succeeds after doing what it is told."""

    def arrange(meanwhile: Proof) -> None:
        def check(
            _golden: Any, _logprobs: Any, *, model_version: str, tolerance: float, whole_model: bool
        ) -> ParityReport:
            meanwhile()
            prompt = PromptParity(id="1", tokens=3, difference=0.0, largest=0.0, from_base=0.5, moved=0.5)
            return ParityReport(
                model_version=model_version, tolerance=tolerance, prompts=(prompt,), whole_model=whole_model
            )

        report = SimpleNamespace(load=lambda: SimpleNamespace(golden=()))
        monkeypatch.setattr(steps, "make_live", lambda *_: (SimpleNamespace(url="http://stub", logprobs=None), False))
        monkeypatch.setattr(steps, "Client", lambda: SimpleNamespace(get_artifact_version=lambda _: report))
        monkeypatch.setattr(steps, "check_parity", check)

    return arrange


def deploy(version: str, override: str = "") -> None:
    deployment_pipeline(MODEL, version, "test", ServingConfig(start_timeout=10), override)


def test_a_version_is_proven_and_then_gets_stage_and_traffic(stack: Storage, proving: Callable[[Proof], None]) -> None:
    registered("a")
    proving(lambda: None)
    deploy("1")
    assert [release.routes.production for release in stack.releases(MODEL).history()] == [None, "v1"]
    assert stages() == {"1": "production"}


def test_a_whole_model_is_proven_beside_production_as_what_it_is_and_takes_its_place(
    stack: Storage, proving: Callable[[Proof], None]
) -> None:
    registered("a")
    proving(lambda: None)
    deploy("1")
    registered("b", whole_model=BaseRef(model="/adapters/b/merged", sha256="f" * 64))
    production: list[dict[str, float]] = []
    proving(lambda: production.append(stack.releases(MODEL).history()[-1].traffic()))
    deploy("2")
    assert production == [{"1": 100.0, "2": 0.0}]
    current = stack.releases(MODEL).current()
    assert current is not None and (current.base.model, current.traffic()) == ("/adapters/b/merged", {"2": 100.0})
    assert stages() == {"1": "archived", "2": "production"}
    (report,) = Client().list_artifact_versions(name="equals:parity_report", sort_by="desc:created", size=1).items
    assert report.load().whole_model


def test_an_override_reaches_the_release_and_is_proven_like_any_other(
    stack: Storage, proving: Callable[[Proof], None]
) -> None:
    registered("a", None, outcome="INCONCLUSIVE")
    proofs: list[str] = []
    proving(lambda: proofs.append("proven"))
    deploy("1", "too few questions, but read by hand")
    assert proofs == ["proven"]
    assert stages() == {"1": "production"}
    override = get_version(MODEL, "1").override
    assert override is not None and override.override == "too few questions, but read by hand"


def test_a_version_that_did_not_pass_gets_no_traffic_from_the_pipeline_alone(
    stack: Storage, proving: Callable[[Proof], None]
) -> None:
    registered("a", None, outcome="FAIL")
    proving(lambda: None)
    with pytest.raises(TunelineError, match="the gate says FAIL"):
        deploy("1")
    assert stages() == {"1": "none"}


def test_whoever_is_overtaken_during_the_proof_is_told_and_the_winner_goes_on(
    stack: Storage, proving: Callable[[Proof], None]
) -> None:
    registered("a")
    third = registered("b")

    def fails() -> None:  # the gateway does not know version 1 any more
        prove(third, stack)
        raise TunelineError("the endpoint answered 404")

    for meanwhile in (lambda: prove(third, stack), fails):
        proving(meanwhile)
        with pytest.raises(ReleaseConflict, match=r"version 1 got no traffic: .* \(prove version 2\)"):
            deploy("1")
        current = stack.releases(MODEL).current()
        assert current is not None and current.routes.challenger == "v2"
    assert stages() == {"1": "archived", "2": "staging"}
    assert history(get_version(MODEL, "1"))[-1].action == "archived"


def test_a_canary_is_proven_and_then_gets_its_share(stack: Storage, proving: Callable[[Proof], None]) -> None:
    registered("a")
    proofs: list[str] = []
    proving(lambda: proofs.append("proven"))
    deploy("1")
    registered("b")
    serving = ServingConfig(start_timeout=10, gateway=GatewayArguments(max_tokens=7))
    canary_pipeline(MODEL, "2", "trying it", Share(percent=20, shadow=True), serving)
    assert proofs == ["proven", "proven"]
    written = stack.releases(MODEL).history()
    assert [(release.routes.challenger, release.routes.percent) for release in written[2:]] == [("v2", 0), ("v2", 20)]
    assert (written[-1].routes.production, written[-1].routes.shadow, written[-1].reason) == ("v1", True, "trying it")
    assert written[-1].gateway.max_tokens == 7
    assert stages() == {"1": "production", "2": "staging"}


def test_a_challenger_that_fails_its_proof_gets_no_share_and_production_stays(
    stack: Storage, proving: Callable[[Proof], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    registered("a")
    proving(lambda: None)
    deploy("1")
    registered("b")
    failed = SimpleNamespace(passed=False, sentence="it does not reproduce")
    monkeypatch.setattr(steps, "check_parity", lambda *_, **__: failed)
    with pytest.raises(TunelineError, match="release refused: it does not reproduce"):
        canary_pipeline(MODEL, "2", "trying it", Share(percent=20), ServingConfig(start_timeout=10))
    current = stack.releases(MODEL).current()
    assert current is not None and current.traffic() == {"1": 100.0}
    assert stages() == {"1": "production", "2": "staging"}
