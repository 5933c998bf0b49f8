"""Deployment: a version that passed the gate to the one that answers."""

from zenml import pipeline
from zenml.enums import ExecutionMode

from steps.release.prove import give_traffic, prove_version, start_endpoint, write_release


@pipeline(name="deployment", enable_cache=False, execution_mode=ExecutionMode.FAIL_FAST)
def deployment_pipeline(
    name: str, version: str, reason: str, start_timeout: float, parity_tolerance: float, override: str = ""
) -> None:
    """Release it beside production, make that live, prove it, give it the traffic."""
    sequence = write_release(name, version)
    url = start_endpoint(name, version, sequence, start_timeout)
    parity = prove_version(name, version, sequence, url, start_timeout, parity_tolerance)
    give_traffic(name, version, reason, override, sequence, parity, start_timeout)
