"""Deployment: a version that passed the gate to the one that answers, or to the challenger of the one that does."""

from zenml import pipeline
from zenml.enums import ExecutionMode

from controlplane.canary import Share
from steps.release.prove import give_traffic, prove_version, start_canary, start_endpoint, write_release
from tuneline.config import ServingConfig


@pipeline(name="deployment", enable_cache=False, execution_mode=ExecutionMode.FAIL_FAST)
def deployment_pipeline(name: str, version: str, reason: str, serving: ServingConfig, override: str = "") -> None:
    """Release it beside production, make that live, prove it, give it the traffic."""
    sequence = write_release(name, version, serving)
    url = start_endpoint(name, version, sequence, serving)
    parity = prove_version(name, version, sequence, url, serving)
    give_traffic(name, version, reason, override, sequence, parity, serving)


@pipeline(name="canary", enable_cache=False, execution_mode=ExecutionMode.FAIL_FAST)
def canary_pipeline(
    name: str, version: str, reason: str, share: Share, serving: ServingConfig, override: str = ""
) -> None:
    """Release it beside production, which has to share its engine, make that live, prove it, give it a share."""
    sequence = write_release(name, version, serving, beside=True)
    url = start_endpoint(name, version, sequence, serving)
    parity = prove_version(name, version, sequence, url, serving)
    start_canary(name, version, reason, override, share, sequence, parity, serving)
