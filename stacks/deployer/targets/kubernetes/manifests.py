"""The objects of one endpoint in a cluster. Pure functions: settings in, manifests out.

A Deployment and not a StatefulSet: what a pod keeps is a cache; releases, keys and weights are in the artifact store.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from stacks.deployer.targets.settings import KubernetesSettings

Manifest = dict[str, Any]

PORT = 8000
REVISION = "tuneline.dev/revision"
_USER = 1034  # BentoML's images run as this one
_HOME = "/work"
_END_SECONDS = 20  # after the drain, for the engine's end; the launcher kills what has not ended after 15
_START_SECONDS = 300  # until the gateway answers: Python's imports from a cold disk. The engine may take longer.


@dataclass(frozen=True)
class Plan:
    """One endpoint in a cluster.

    Attributes:
        endpoint: its name.
        folder: URI of its folder in the artifact store.
        settings: how it runs.
        poll_seconds: how often each pod looks for a new release.
        drain_seconds: what answers under way get when a pod ends.
        replicas: pods now; between ``settings.replicas`` and ``max_replicas``.
    """

    endpoint: str
    folder: str
    settings: KubernetesSettings
    poll_seconds: float
    drain_seconds: float
    replicas: int

    @property
    def name(self) -> str:
        """The name of all its objects: a Service's has to begin with a letter."""
        return object_name(self.endpoint)


def object_name(endpoint: str) -> str:
    """The name of an endpoint's objects; at most 62 characters, and 63 are allowed."""
    return f"tuneline-{endpoint}"


def labels(endpoint: str) -> dict[str, str]:
    """What selects an endpoint's pods."""
    return {"app.kubernetes.io/name": "tuneline-endpoint", "app.kubernetes.io/instance": endpoint}


def manifests(plan: Plan) -> list[Manifest]:
    """All objects of an endpoint, in the order in which they are applied."""
    found = [service_account(plan), network_policy(plan), service(plan), disruption_budget(plan), deployment(plan)]
    if plan.settings.max_replicas is not None and plan.settings.max_replicas > plan.settings.replicas:
        found.append(autoscaler(plan))
    return found


def revision(template: Manifest) -> str:
    """Names a pod template by what is in it, so that its pods are known from their predecessors'."""
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]


def deployment(plan: Plan) -> Manifest:
    """The pods. A new one is ready before an old one ends, so a rollout needs room for one more pod (and its GPU)."""
    settings = plan.settings
    template: Manifest = {
        "metadata": {"labels": labels(plan.endpoint)},
        "spec": {
            "serviceAccountName": plan.name,
            "automountServiceAccountToken": False,  # an endpoint asks nothing of the cluster
            "terminationGracePeriodSeconds": round(plan.drain_seconds) + _END_SECONDS,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": _USER,
                "runAsGroup": _USER,
                "fsGroup": _USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "topologySpreadConstraints": [
                {
                    "maxSkew": 1,
                    "topologyKey": "kubernetes.io/hostname",
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": {"matchLabels": labels(plan.endpoint)},
                }
            ],
            "containers": [container(plan)],
            "volumes": [
                {"name": "work", "emptyDir": {"sizeLimit": settings.disk}},
                {"name": "tmp", "emptyDir": {}},
                {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": settings.shared_memory}},
            ],
            **({"nodeSelector": settings.node_selector} if settings.node_selector else {}),
            **({"tolerations": settings.tolerations} if settings.tolerations else {}),
        },
    }
    template["metadata"]["labels"] |= {REVISION: revision(template)}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(plan),
        "spec": {
            "replicas": plan.replicas,
            "revisionHistoryLimit": 2,
            "selector": {"matchLabels": labels(plan.endpoint)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": template,
        },
    }


def container(plan: Plan) -> Manifest:
    """The launcher with gateway and engine; without a command, because the image's own is the right one."""
    settings = plan.settings
    limits: dict[str, Any] = {"memory": settings.memory}
    if settings.gpus:
        limits["nvidia.com/gpu"] = settings.gpus
    variables = {
        "TUNELINE_ENDPOINT": plan.endpoint,
        "TUNELINE_FOLDER": plan.folder,
        "TUNELINE_WORKDIR": f"{_HOME}/endpoint",
        "TUNELINE_PORT": PORT,
        "TUNELINE_POLL_SECONDS": plan.poll_seconds,
        "TUNELINE_DRAIN_SECONDS": plan.drain_seconds,
        "HOME": _HOME,  # the one place for Hugging Face's, vLLM's, Triton's and torch's caches
    }
    return {
        "name": "endpoint",
        "image": settings.image,
        "ports": [{"name": "http", "containerPort": PORT}],
        "env": [{"name": name, "value": str(value)} for name, value in variables.items()],
        "envFrom": [{"secretRef": {"name": name}} for name in settings.secrets],
        # No CPU limit: a throttled gateway is slow for all, an idle core is of use to nobody.
        "resources": {"requests": {"cpu": settings.cpu, "memory": settings.memory}, "limits": limits},
        # /livez answers as soon as the gateway does, which starts and restarts the engine itself. A start that waits on
        # /readyz would be killed in the middle of a base model's download, and again, and again.
        "startupProbe": _probe("/livez", period=2, failures=_START_SECONDS // 2),
        "livenessProbe": _probe("/livez", period=10, failures=6),
        "readinessProbe": _probe("/readyz", period=2, failures=2),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "work", "mountPath": _HOME},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the container's own
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108
        ],
    }


def service(plan: Plan) -> Manifest:
    """The endpoint's address in the cluster. It leads to ready pods alone."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(plan),
        "spec": {
            "type": "ClusterIP",
            "selector": labels(plan.endpoint),
            "ports": [{"name": "http", "port": PORT, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def service_account(plan: Plan) -> Manifest:
    """Who the pods are; a cloud's role for the bucket hangs on its annotations."""
    settings = plan.settings
    account: Manifest = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _metadata(plan) | {"annotations": settings.service_account_annotations},
        "automountServiceAccountToken": False,
    }
    if settings.image_pull_secrets:
        account["imagePullSecrets"] = [{"name": name} for name in settings.image_pull_secrets]
    return account


def network_policy(plan: Plan) -> Manifest:
    """Only the gateway's port can be reached, whatever else an engine's library opens. The way out stays open."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(plan),
        "spec": {
            "podSelector": {"matchLabels": labels(plan.endpoint)},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"protocol": "TCP", "port": PORT}]}],
        },
    }


def disruption_budget(plan: Plan) -> Manifest:
    """Nodes are emptied one pod at a time. At least one is not demanded: a single replica would block them for ever."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(plan),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": labels(plan.endpoint)}},
    }


def autoscaler(plan: Plan) -> Manifest:
    """More pods while questions wait. CPU says nothing about an engine on a GPU, so it takes a metric of the pods."""
    settings = plan.settings
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": _metadata(plan),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": plan.name},
            "minReplicas": settings.replicas,
            "maxReplicas": settings.max_replicas,
            "metrics": [
                {
                    "type": "Pods",
                    "pods": {
                        "metric": {"name": settings.scale_metric},
                        "target": {"type": "AverageValue", "averageValue": f"{round(settings.scale_at * 1000)}m"},
                    },
                }
            ],
            # An engine takes a minute and more to start, so one that was let go too early is missed for long.
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 600}},
        },
    }


def _metadata(plan: Plan) -> Manifest:
    return {
        "name": plan.name,
        "namespace": plan.settings.namespace,
        "labels": labels(plan.endpoint) | {"app.kubernetes.io/managed-by": "tuneline"},
    }


def _probe(path: str, *, period: int, failures: int) -> Manifest:
    get = {"path": path, "port": "http"}
    return {"httpGet": get, "periodSeconds": period, "timeoutSeconds": 5, "failureThreshold": failures}
