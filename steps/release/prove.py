"""Deployment's steps: release beside production, make it live, prove it, give it the traffic or a share of it."""

from typing import Annotated

from zenml import step
from zenml.client import Client

from controlplane.canary import Share, give_share
from controlplane.endpoint import make_live
from controlplane.registry import follow_stages
from controlplane.releases import check_current, prove, put_in_production, withdraw
from controlplane.storage import active_storage
from controlplane.versions import get_version
from materializers.parity_report import ParityReportMaterializer
from tuneline.config import ServingConfig
from tuneline.errors import TunelineError
from tuneline.evaluation.report import EvaluationReport
from tuneline.release.parity import ParityReport, check_parity


@step(enable_cache=False)
def write_release(name: str, version: str, serving: ServingConfig, beside: bool = False) -> Annotated[int, "sequence"]:
    """Write the release that loads the version beside production, without traffic.

    Args:
        beside: production has to stay loaded, because the version becomes its challenger.
    """
    release = prove(get_version(name, version), active_storage(), serving.gateway, beside=beside)
    print(f"release: {release.sequence} of {name} holds version {version}", flush=True)
    return release.sequence


@step(enable_cache=False)
def start_endpoint(name: str, version: str, sequence: int, serving: ServingConfig) -> Annotated[str, "url"]:
    """Make the release live: start the endpoint if it is down, wait until it has applied the release.

    A release that cannot be applied is taken back: one with another engine does not even hold production.
    """
    storage = active_storage()
    try:
        client, started = make_live(name, storage, sequence, serving.start_timeout)
    except TunelineError as error:
        check_current(version, storage.releases(name), sequence)  # else it fails because somebody else's took its place
        withdraw(get_version(name, version), storage, f"version {version} could not be made live: {error.what[:500]}")
        raise
    how = "started" if started else "was running already; its engine goes on"
    if storage.releases(name).read(sequence).trial is not None:
        how += f", and version {version} is on trial in another"
    print(f"endpoint: {client.url} {how}, release {sequence} is live", flush=True)
    return client.url


@step(enable_cache=False, output_materializers={"parity_report": ParityReportMaterializer})
def prove_version(
    name: str, version: str, sequence: int, url: str, serving: ServingConfig
) -> Annotated[ParityReport, "parity_report"]:
    """Ask the served version something, and hold its log-probabilities against those of its evaluation."""
    storage = active_storage()
    candidate = get_version(name, version)
    client, _ = make_live(name, storage, sequence, serving.start_timeout)
    report: EvaluationReport = Client().get_artifact_version(candidate.record.report).load()
    try:
        parity = check_parity(
            report.golden,
            lambda prompt, completion: client.logprobs(prompt, completion, version=version),
            model_version=version,
            tolerance=serving.parity_tolerance,
            whole_model=candidate.record.whole_model is not None,
        )
    except TunelineError:
        check_current(version, storage.releases(name), sequence)
        raise
    print(f"parity: {parity.sentence}", flush=True)
    if not parity.passed:
        withdraw(candidate, storage, parity.sentence)
        raise TunelineError(
            f"release refused: {parity.sentence}",
            hint="Production is untouched. Train again, or look at serving.dtype and serving.quantization.",
        )
    return parity


@step(enable_cache=False)
def give_traffic(
    name: str,
    version: str,
    reason: str,
    override: str,
    sequence: int,
    parity_report: ParityReport,
    serving: ServingConfig,
) -> Annotated[int, "production_sequence"]:
    """Move the traffic and the production stage to the proven version, together; MLflow's aliases follow.

    Args:
        override: why it gets them although the gate did not pass; empty if it did.
        sequence: the release under which it was proven. If another one is current by now, somebody else was faster.
    """
    assert parity_report.passed, "a version that is not proven never reaches this step"
    storage = active_storage()
    release = put_in_production(
        get_version(name, version),
        storage,
        reason,
        seen=sequence,
        gateway=serving.gateway,
        override=override or None,
    )
    make_live(name, storage, release.sequence, serving.start_timeout)
    print(f"production: version {version} of {name} answers, release {release.sequence}", flush=True)
    if warning := follow_stages(name):
        print(f"warning: {warning}", flush=True)
    return release.sequence


@step(enable_cache=False)
def start_canary(
    name: str,
    version: str,
    reason: str,
    override: str,
    share: Share,
    sequence: int,
    parity_report: ParityReport,
    serving: ServingConfig,
) -> Annotated[int, "canary_sequence"]:
    """Give the proven version its share beside production; no stage moves.

    Args:
        override: why it gets one although the gate did not pass; empty if it did.
        share: how much, and whether anybody sees it.
        sequence: the release under which it was proven. If another one is current by now, somebody else was faster.
    """
    assert parity_report.passed, "a version that is not proven never reaches this step"
    storage = active_storage()
    release = give_share(
        get_version(name, version),
        storage,
        share,
        reason,
        seen=sequence,
        gateway=serving.gateway,
        override=override or None,
    )
    make_live(name, storage, release.sequence, serving.start_timeout)
    print(f"canary: version {version} of {name} gets {share}, release {release.sequence}", flush=True)
    return release.sequence
