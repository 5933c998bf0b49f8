"""The manifests are what Kubernetes takes, and say what they should. No ZenML, no cluster."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest
from pydantic import ValidationError

from stacks.deployer.targets.kubernetes.manifests import REVISION, Plan, manifests
from stacks.deployer.targets.settings import KubernetesSettings

IMAGE = "registry.example.com/tuneline-endpoint:0.1"
FULL = {
    "image": IMAGE,
    "namespace": "tuneline",
    "replicas": 2,
    "max_replicas": 4,
    "secrets": ["tuneline-s3", "hub-token"],
    "service_account_annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/x"},
    "image_pull_secrets": ["registry"],
    "node_selector": {"gpu": "l4"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
}


def plan(endpoint: str = "tiny", drain: float = 30, **settings: Any) -> Plan:
    made = KubernetesSettings(**({"image": IMAGE} | settings))
    return Plan(endpoint, "s3://bucket/tuneline/endpoints/tiny", made, 1.0, drain, made.replicas)


def by_kind(of: Plan) -> dict[str, dict[str, Any]]:
    return {manifest["kind"]: manifest for manifest in manifests(of)}


@pytest.mark.parametrize("version", ["1.28", "1.37"])
@pytest.mark.parametrize("settings", [{}, {"gpus": 0}, FULL])
def test_every_manifest_fits_kubernetes_own_schema(settings: dict[str, Any], version: str) -> None:
    for manifest in manifests(plan(**settings)):
        kubernetes_validate.validate(manifest, version, strict=True)


def test_the_schema_check_would_notice_a_misspelt_field() -> None:
    wrong = by_kind(plan())["Deployment"]
    wrong["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.37", strict=True)


def test_a_pod_may_drain_before_it_is_killed() -> None:
    assert by_kind(plan(drain=90))["Deployment"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 110
    (container,) = by_kind(plan(drain=90))["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert {"name": "TUNELINE_DRAIN_SECONDS", "value": "90"} in container["env"]


def test_a_pod_is_not_root_and_writes_into_its_volumes_alone() -> None:
    pod = by_kind(plan())["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]) == (True, 1034)
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert not pod["automountServiceAccountToken"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert set(mounts) == {"/work", "/tmp", "/dev/shm"}
    assert {volume["name"] for volume in pod["volumes"] if "emptyDir" in volume} == set(mounts.values())


def test_traffic_waits_for_readiness_and_restarts_for_death_alone() -> None:
    (container,) = by_kind(plan())["Deployment"]["spec"]["template"]["spec"]["containers"]
    paths = {name: container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}


def test_secrets_are_there_by_name_and_no_value_is() -> None:
    (container,) = by_kind(plan(**FULL))["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "tuneline-s3"}}, {"secretRef": {"name": "hub-token"}}]
    assert "Secret" not in by_kind(plan(**FULL))


def test_a_rollout_never_takes_a_pod_before_its_successor_is_ready() -> None:
    assert by_kind(plan())["Deployment"]["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_gpus_nodes_and_scaling_are_those_of_the_settings() -> None:
    made = by_kind(plan(**FULL))
    pod = made["Deployment"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"] == {"memory": "16Gi", "nvidia.com/gpu": 1}
    assert pod["nodeSelector"] == {"gpu": "l4"}
    spec = made["HorizontalPodAutoscaler"]["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 4)
    assert "HorizontalPodAutoscaler" not in by_kind(plan())
    cpu_only = by_kind(plan(gpus=0))["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert "nvidia.com/gpu" not in cpu_only["resources"]["limits"]


def test_another_image_makes_another_revision_and_the_number_of_pods_does_not() -> None:
    def revision(**settings: Any) -> str:
        labels = by_kind(plan(**settings))["Deployment"]["spec"]["template"]["metadata"]["labels"]
        return str(labels[REVISION])

    assert revision() == revision(replicas=3)
    assert revision() != revision(image="registry.example.com/tuneline-endpoint:0.2")


def test_names_stay_within_kubernetes_63_characters() -> None:
    assert len(manifests(plan(endpoint="x" * 53))[0]["metadata"]["name"]) <= 63


def test_fewer_pods_at_most_than_at_least_are_refused() -> None:
    with pytest.raises(ValidationError, match="less than the 3 replicas"):
        KubernetesSettings(image=IMAGE, replicas=3, max_replicas=2)
