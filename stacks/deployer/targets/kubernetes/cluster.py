"""The few requests to the Kubernetes API that an endpoint needs, with errors that say what is missing.

By the official Python client and not by kubectl: a deployment may run in a step's pod, whose image has no kubectl, and
ZenML's Kubernetes orchestrator brings this client along.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from stacks.deployer.targets.kubernetes.manifests import PORT, Manifest
from tuneline.errors import TunelineError, UserError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

_PATHS = {
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "Service": "/api/v1/namespaces/{}/services",
    "Pod": "/api/v1/namespaces/{}/pods",
    "Event": "/api/v1/namespaces/{}/events",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
}
_SECONDS = 30
_APPLY = "application/apply-patch+yaml"
_ABSENT = frozenset({404})
_PROXY = frozenset({404, 500, 502, 503, 504})  # the pod's own statuses, or the API server's when it does not reach it


def in_cluster() -> bool:
    """Whether this process is a pod's."""
    return "KUBERNETES_SERVICE_HOST" in os.environ


class Cluster:
    """One namespace of a cluster.

    Args:
        namespace: it exists.
        context: of the kubeconfig; None takes the current one. A pod takes its own cluster by its service account.

    Raises:
        UserError: the client is not installed, or there is no such context.
    """

    def __init__(self, namespace: str, context: str | None) -> None:
        try:
            from kubernetes import config
            from kubernetes.client import ApiClient, Configuration
            from kubernetes.config import ConfigException
        except ModuleNotFoundError as error:
            raise UserError(
                "the model deployer's target is 'kubernetes', and its Python client is not installed",
                hint="Run `make setup`, which installs it.",
            ) from error
        found = Configuration()
        try:
            if in_cluster():
                config.load_incluster_config(client_configuration=found)
            else:
                config.load_kube_config(context=context, client_configuration=found)
        except ConfigException as error:
            raise UserError(
                f"there is no way to the cluster: {error}",
                hint="`kubectl config get-contexts` shows the contexts there are; name one as kubernetes.context. "
                "A pod needs a service account whose token is mounted.",
            ) from error
        found.retries = 2
        self.namespace = namespace
        self._api: ApiClient = ApiClient(found)

    def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply: make or change an object, and take over the fields that the manifest has."""
        from kubernetes.client import ApiException

        path = f"{self._path(manifest['kind'])}/{manifest['metadata']['name']}"
        query = [("fieldManager", "tuneline"), ("force", "true")]
        try:
            return self._json("PATCH", path, query=query, body=manifest, content=_APPLY, passed=_ABSENT)
        except ApiException as error:
            raise UserError(
                f"the cluster cannot make the {manifest['kind']} {manifest['metadata']['name']}: {_message(error)}",
                hint=f"Make the namespace first: `kubectl create namespace {self.namespace}`.",
            ) from error

    def get(self, kind: str, name: str) -> Manifest | None:
        """One object; None if there is none."""
        return self._found("GET", f"{self._path(kind)}/{name}")

    def objects(self, kind: str, *, labels: dict[str, str] | None = None, fields: str | None = None) -> list[Manifest]:
        """Objects by labels or by a field selector."""
        query = [("labelSelector", ",".join(f"{key}={value}" for key, value in labels.items()))] if labels else []
        query += [("fieldSelector", fields)] if fields else []
        return cast(list[Manifest], self._json("GET", self._path(kind), query=query)["items"])

    def scale(self, name: str, replicas: int) -> None:
        """Set a Deployment's number of pods."""
        path = f"{self._path('Deployment')}/{name}/scale"
        self._json("PATCH", path, body={"spec": {"replicas": replicas}}, content="application/merge-patch+json")

    def delete(self, kind: str, name: str) -> None:
        """Remove an object, if there is one."""
        self._found("DELETE", f"{self._path(kind)}/{name}")

    def logs(self, pod: str, *, follow: bool = False, tail: int | None = None, previous: bool = False) -> Iterator[str]:
        """Lines of a pod's log; ``previous`` is that of the container before its last restart."""
        query = [("follow", str(follow).lower()), ("previous", str(previous).lower())]
        query += [("tailLines", str(tail))] if tail else []
        response = self._call(
            "GET", f"{self._path('Pod')}/{pod}/log", query=query, seconds=(_SECONDS, None if follow else _SECONDS)
        )
        rest = b""
        for chunk in response.stream():
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (line.decode(errors="replace") for line in lines)
        if rest:
            yield rest.decode(errors="replace")

    def readyz(self, pod: str) -> bytes | None:
        """A pod's own answer to /readyz, by way of the API server, so from outside the cluster too; None if none."""
        from kubernetes.client import ApiException

        try:
            return cast(bytes, self._call("GET", f"{self._path('Pod')}/{pod}:{PORT}/proxy/readyz", passed=_PROXY).data)
        except ApiException as error:
            # 503 is a gateway's "not yet"; its reasons are in the body. The API server's own 503 has another body.
            return error.body.encode() if isinstance(error.body, str) else error.body

    def _path(self, kind: str) -> str:
        return _PATHS[kind].format(self.namespace)

    def _found(self, method: str, path: str) -> Manifest | None:
        from kubernetes.client import ApiException

        try:
            return self._json(method, path, passed=_ABSENT)
        except ApiException:
            return None

    def _json(self, method: str, path: str, **arguments: Any) -> Manifest:
        return cast(Manifest, json.loads(self._call(method, path, **arguments).data))

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: list[tuple[str, str]] | None = None,
        body: Manifest | None = None,
        content: str = "application/json",
        seconds: tuple[float, float | None] = (_SECONDS, _SECONDS),
        passed: frozenset[int] = frozenset(),
    ) -> Any:
        """One request; statuses in ``passed`` raise the client's own ``ApiException``."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return self._api.call_api(
                path,
                method,
                query_params=query or [],
                header_params={"Accept": "application/json, */*", "Content-Type": content},
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _return_http_data_only=True,
                _request_timeout=seconds,
            )
        except ApiException as error:
            if error.status in passed:
                raise
            refusal = {401: "does not know you", 403: "does not allow it"}.get(error.status)
            if refusal:
                raise UserError(
                    f"the cluster {refusal}: {_message(error)}",
                    hint="docs/deployment.md lists the permissions that the target kubernetes needs.",
                ) from error
            raise TunelineError(f"the cluster refused {method} {path}: {_message(error)}") from error
        except HTTPError as error:
            raise TunelineError(
                f"the cluster's API at {self._api.configuration.host} cannot be reached: {error}",
                hint="Is it up, and is kubernetes.context the right one? `kubectl get nodes` asks it, too.",
            ) from error


def _message(error: Any) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)
