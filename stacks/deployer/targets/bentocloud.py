"""Endpoints as BentoCloud deployments, through BentoML's own Python client.

BentoCloud runs the Bento by itself, so there is no launcher in front of it: it restarts what dies and takes traffic
away from what is not ready, as the launcher and a cluster do.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from stacks.deployer import bento
from stacks.deployer.readiness import await_release
from stacks.deployer.targets.settings import BentoCloudSettings
from stacks.deployer.targets.target import EndpointInfo, check_remote
from tuneline.errors import TunelineError, UserError

if TYPE_CHECKING:
    from bentoml.deployment import Deployment

_TICK_SECONDS = 3.0
_FAILED = {"failed", "image-build-failed"}
_GONE = {"terminating", "terminated"}


class BentoCloud:
    """Endpoints of one organization.

    Args:
        settings: how they run.
        poll_seconds: how often a pod looks for a new release.
    """

    def __init__(self, settings: BentoCloudSettings, poll_seconds: float) -> None:
        self._settings = settings
        self._poll_seconds = poll_seconds

    def check(self, folder: str) -> None:
        """Refuse a folder that BentoCloud cannot read, and a client that is not logged in."""
        check_remote(folder, "bentocloud")
        self._get("tuneline-login-check")

    def bring_up(self, endpoint: str, folder: str, sequence: int | None, timeout: float) -> EndpointInfo:
        """Push the Bento and create or update the deployment, unless it runs this code with these settings already."""
        deadline = time.monotonic() + timeout
        current = self._get(deployment_name(endpoint))
        running = current is not None and current.get_status(refetch=False).status not in _GONE
        wanted = self._wanted(endpoint, folder)
        if current is None or not running or _differs(current, wanted):
            current = self._apply(wanted, None if current is None else current.cluster)
        self._await_running(current, endpoint, deadline, timeout)
        url = _url(current)
        if url is None:
            raise TunelineError(f"BentoCloud gave the endpoint {endpoint!r} no address", hint=_console(current))
        if sequence is not None:
            await_release(endpoint, lambda: url, sequence, deadline - time.monotonic())
        return EndpointInfo(url=url, pid=None, started=not running)

    def find(self, endpoint: str) -> EndpointInfo | None:
        """The endpoint if BentoCloud says that it runs, or will at the first question."""
        found = self._get(deployment_name(endpoint))
        if found is None or found.get_status(refetch=False).status not in ("running", "scaled-to-zero"):
            return None
        url = _url(found)
        return EndpointInfo(url=url, pid=None, started=False) if url else None

    def stop(self, endpoint: str) -> bool:
        """Terminate the deployment; its name and its history stay."""
        from bentoml import deployment

        name = deployment_name(endpoint)
        found = self._get(name)
        if found is None or found.get_status(refetch=False).status in _GONE:
            return False
        with _explained():
            deployment.terminate(name, cluster=found.cluster)
        return True

    def logs(self, endpoint: str, *, follow: bool, tail: int | None) -> Iterator[str]:
        """BentoML's client reads logs for its own screen alone, so this says where they are."""
        found = self._get(deployment_name(endpoint))
        where = f"They are at {found.admin_console}." if found else f"There is no endpoint {endpoint!r} there."
        raise UserError("BentoCloud shows logs in its own console", hint=where)

    def _wanted(self, endpoint: str, folder: str) -> dict[str, Any]:
        settings = self._settings
        variables = {
            "TUNELINE_ENDPOINT": endpoint,
            "TUNELINE_FOLDER": folder,
            "TUNELINE_WORKDIR": "/home/bentoml/endpoint",
            "TUNELINE_POLL_SECONDS": str(self._poll_seconds),
        }
        return {
            "name": deployment_name(endpoint),
            "bento": bento.tag(),
            "access_authorization": settings.access_authorization,
            "envs": [{"name": name, "value": value} for name, value in variables.items()],
            "secrets": settings.secrets,
            "services": {
                bento.NAME: {
                    "instance_type": settings.instance_type,
                    "scaling": {"min_replicas": settings.scaling_min, "max_replicas": settings.scaling_max},
                }
            },
        }

    def _apply(self, wanted: dict[str, Any], cluster: str | None) -> Deployment:
        """Create the deployment, or replace its configuration; BentoML pushes a Bento that is not there yet."""
        from bentoml import deployment

        bento.build()
        with _explained():
            if cluster is None:
                return deployment.create(config_dict=wanted | _in_cluster(self._settings.cluster))
            # BentoML's apply takes a missing cluster for another one than the deployment's and refuses.
            return deployment.apply(config_dict=wanted | _in_cluster(cluster))

    def _await_running(self, found: Deployment, endpoint: str, deadline: float, timeout: float) -> None:
        while True:
            with _explained():
                status = found.get_status().status
            if status == "running":
                return
            if status in _FAILED or status in _GONE:
                raise TunelineError(f"BentoCloud says of the endpoint {endpoint!r}: {status}", hint=_console(found))
            if time.monotonic() > deadline:
                raise TunelineError(
                    f"the endpoint {endpoint!r} does not run after {timeout:.0f} s; BentoCloud says: {status}",
                    hint=_console(found),
                )
            time.sleep(_TICK_SECONDS)

    def _get(self, name: str) -> Deployment | None:
        from bentoml import deployment
        from bentoml.exceptions import NotFound

        with _explained():
            try:
                return deployment.get(name, cluster=self._settings.cluster)
            except NotFound:
                return None


def deployment_name(endpoint: str) -> str:
    """The deployment of an endpoint."""
    return f"tuneline-{endpoint}"


def _in_cluster(name: str | None) -> dict[str, str]:
    return {"cluster": name} if name else {}


def _url(found: Deployment) -> str | None:
    from bentoml.exceptions import BentoMLException

    try:
        return str(found.get_endpoint_urls(refetch=False)[0]).rstrip("/")
    except BentoMLException:
        return None


def _console(found: Deployment) -> str:
    return f"See {found.admin_console}."


def _differs(found: Deployment, wanted: dict[str, Any]) -> bool:
    """Whether a deployment is not as wanted. Updating one that is makes a new revision, and new pods, for nothing."""
    config = found.get_config(refetch=False)
    if config is None:
        return True
    service = config.services.get(bento.NAME)
    return wanted != {
        "name": found.name,
        "bento": found.get_bento(refetch=False),
        "access_authorization": config.access_authorization,
        "envs": [{"name": env.name, "value": env.value} for env in config.envs or []],
        "secrets": config.secrets or [],
        "services": {
            bento.NAME: {
                "instance_type": service.instance_type if service else None,
                "scaling": {
                    "min_replicas": service.scaling.min_replicas if service and service.scaling else None,
                    "max_replicas": service.scaling.max_replicas if service and service.scaling else None,
                },
            }
        },
    }


@contextmanager
def _explained() -> Iterator[None]:
    """Turn the client's errors into ours."""
    import httpx
    from bentoml.exceptions import BentoMLException, CloudRESTApiClientError, NotFound

    try:
        yield
    except NotFound:
        raise
    except CloudRESTApiClientError as error:
        if error.error_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise UserError(
                f"BentoCloud does not know you: {error}",
                hint="Log in with `bentoml cloud login`, or set BENTO_CLOUD_API_KEY (and BENTO_CLOUD_API_ENDPOINT).",
            ) from error
        raise TunelineError(f"BentoCloud refused: {error}") from error
    except httpx.TransportError as error:
        raise TunelineError(
            f"BentoCloud cannot be reached: {error}", hint="BENTO_CLOUD_API_ENDPOINT names it."
        ) from error
    except BentoMLException as error:
        raise TunelineError(f"BentoCloud refused: {error}") from error
