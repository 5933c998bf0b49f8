"""The endpoint of a model: its releases, its key and its deployer, found through the active stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zenml.client import Client
from zenml.enums import StackComponentType

from controlplane.keys import ensure_key, read_key
from controlplane.storage import Storage, active_storage
from stacks.active import active_component
from tuneline.errors import UserError
from tuneline.release.client import EndpointClient

if TYPE_CHECKING:
    from stacks.deployer.deployer import BentoVLLMModelDeployer, EndpointInfo


def active_deployer() -> BentoVLLMModelDeployer:
    """The active stack's bentoml_vllm deployer.

    Raises:
        UserError: the stack has no model deployer, or one of another flavor.
    """
    deployer = active_component(StackComponentType.MODEL_DEPLOYER)
    if deployer is None or deployer.flavor != "bentoml_vllm":
        raise UserError(
            f"stack {Client().active_stack_model.name!r} has no model deployer of flavor 'bentoml_vllm'",
            hint="Use a stack that has one (`python run.py stack list`), or apply one: "
            "`python run.py stack apply stacks/local.yaml`.",
        )
    return deployer  # type: ignore[return-value]


def find_endpoint(endpoint: str) -> EndpointInfo | None:
    """The endpoint's process, if one is running."""
    return active_deployer().find_endpoint(endpoint)


def connect(endpoint: str) -> EndpointClient:
    """A client of the running endpoint.

    Raises:
        UserError: it is not running, or has no key yet.
    """
    live = find_endpoint(endpoint)
    if live is None:
        raise UserError(
            f"endpoint {endpoint!r} is not running",
            hint="`python run.py deploy` starts it with the release that is current.",
        )
    return EndpointClient(url=live.url, endpoint=endpoint, key=read_key(endpoint))


def make_live(endpoint: str, storage: Storage, sequence: int, timeout: float) -> tuple[EndpointClient, bool]:
    """Start the endpoint if it is not running, and wait until a release is live.

    Returns:
        A client, and whether a process had to be started.

    Raises:
        TunelineError: it did not start, or refused the release.
    """
    key = ensure_key(endpoint, storage)
    info = active_deployer().ensure_live(endpoint, storage.endpoint_folder(endpoint), sequence, timeout)
    client = EndpointClient(url=info.url, endpoint=endpoint, key=key)
    client.await_release(sequence, timeout)
    return client, info.started


__all__ = ["active_deployer", "active_storage", "connect", "find_endpoint", "make_live"]
