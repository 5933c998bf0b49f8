"""The target kubernetes against a stand-in for a cluster's API server. No ZenML."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stacks.deployer.targets.kubernetes import Kubernetes, rollout
from stacks.deployer.targets.settings import KubernetesSettings
from tests.deployer.targets.cluster import StubCluster, kubeconfig, serve
from tuneline.errors import TunelineError, UserError

FOLDER = "s3://bucket/tuneline/endpoints/tiny"
URL = "https://{endpoint}.example.com"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubCluster]:
    stub = StubCluster()
    server = serve(stub)
    file = kubeconfig(tmp_path / "kubeconfig", server.server_address[1])
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(file))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr(rollout, "_TICK_SECONDS", 0.02)
    monkeypatch.setattr(rollout, "STUCK_SECONDS", 0.2)
    yield stub
    server.shutdown()
    server.server_close()


def target(**settings: Any) -> Kubernetes:
    fields = {"image": "registry.example.com/tuneline-endpoint:0.1", "url": URL, "namespace": "ml"} | settings
    return Kubernetes(KubernetesSettings(**fields), poll_seconds=1.0, drain_seconds=30.0)


def test_an_endpoint_is_brought_up_by_server_side_apply_and_found_and_a_second_time_is_the_same(
    cluster: StubCluster,
) -> None:
    assert target().find("tiny") is None
    first = target().bring_up("tiny", FOLDER, 1, timeout=5)
    assert (first.url, first.pid, first.started) == ("https://tiny.example.com", None, True)
    assert set(cluster.objects) == {"ServiceAccount", "NetworkPolicy", "Service", "PodDisruptionBudget", "Deployment"}
    assert {manifest["metadata"]["namespace"] for manifest in cluster.objects.values()} == {"ml"}
    assert cluster.content_types == {"application/apply-patch+yaml"}
    names = [pod["metadata"]["name"] for pod in cluster.pods]
    second = target().bring_up("tiny", FOLDER, 1, timeout=5)
    assert not second.started
    assert [pod["metadata"]["name"] for pod in cluster.pods] == names
    found = target().find("tiny")
    assert found is not None
    assert found.url == first.url


def test_another_image_replaces_the_pods(cluster: StubCluster) -> None:
    target().bring_up("tiny", FOLDER, None, timeout=5)
    before = [pod["metadata"]["name"] for pod in cluster.pods]
    target(image="registry.example.com/tuneline-endpoint:0.2").bring_up("tiny", FOLDER, None, timeout=5)
    assert [pod["metadata"]["name"] for pod in cluster.pods] != before


def test_a_release_counts_once_every_pod_has_it(cluster: StubCluster) -> None:
    cluster.release = 1
    with pytest.raises(TunelineError, match=r"has not applied release 2 everywhere\npod tuneline-tiny-.*release 1"):
        target(replicas=2).bring_up("tiny", FOLDER, 2, timeout=0.5)
    cluster.release = 2
    target(replicas=2).bring_up("tiny", FOLDER, 2, timeout=5)
    asked = {line for line in cluster.requests if line.endswith("proxy/readyz")}
    assert len(asked) == 2


def test_a_release_that_a_pod_cannot_apply_is_told_with_its_reason(cluster: StubCluster) -> None:
    cluster.release, cluster.error = None, "release 1 could not be applied: the adapter's hash is another one"
    with pytest.raises(TunelineError, match=r"pod tuneline-tiny-\S+ cannot apply release 1: .*hash is another one"):
        target().bring_up("tiny", FOLDER, 1, timeout=10)


def test_an_image_that_cannot_be_pulled_is_told_at_once_with_the_pods_events(cluster: StubCluster) -> None:
    cluster.state = {"waiting": {"reason": "ImagePullBackOff", "message": "back-off pulling registry.example.com/x"}}
    cluster.events = [{"pod": "tuneline-tiny-6b4f-00001", "reason": "Failed", "message": "manifest unknown"}]
    with pytest.raises(TunelineError) as failure:
        target().bring_up("tiny", FOLDER, 1, timeout=30)
    assert "pod tuneline-tiny-6b4f-00001" in failure.value.what
    assert "ImagePullBackOff: back-off pulling" in failure.value.what
    assert "Failed: manifest unknown" in failure.value.what
    assert "run.py stop" in failure.value.hint
    assert failure.value.exit_code == 1


def test_a_crash_loop_is_told_with_the_log_of_the_life_that_crashed(cluster: StubCluster) -> None:
    cluster.state, cluster.restarts = {"waiting": {"reason": "CrashLoopBackOff"}}, 3
    with pytest.raises(TunelineError, match=r"before restart 3\nlog of tuneline-tiny-\S+, previous=true"):
        target().bring_up("tiny", FOLDER, 1, timeout=30)


def test_a_pod_that_finds_no_node_is_waited_for_and_told_when_the_time_is_over(cluster: StubCluster) -> None:
    cluster.state = {}
    cluster.conditions = [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "insufficient nvidia.com/gpu"}
    ]
    with pytest.raises(TunelineError, match=r"not up after 0 s\npod \S+: Unschedulable: insufficient nvidia.com/gpu"):
        target().bring_up("tiny", FOLDER, 1, timeout=0.3)


def test_a_missing_permission_is_the_users_to_give_and_is_named(cluster: StubCluster) -> None:
    cluster.refuse = (403, 'serviceaccounts is forbidden: User "me" cannot patch resource "serviceaccounts"')
    with pytest.raises(UserError, match=r'does not allow it: .*cannot patch resource "serviceaccounts"') as failure:
        target().bring_up("tiny", FOLDER, 1, timeout=5)
    assert "docs/deployment.md" in failure.value.hint


def test_a_missing_namespace_says_how_to_make_it(cluster: StubCluster) -> None:
    cluster.refuse = (404, 'namespaces "ml" not found')
    with pytest.raises(UserError, match='namespaces "ml" not found') as failure:
        target().bring_up("tiny", FOLDER, 1, timeout=5)
    assert "kubectl create namespace ml" in failure.value.hint


def test_a_cluster_that_is_gone_is_told_with_its_address(cluster: StubCluster, tmp_path: Path) -> None:
    kubeconfig(tmp_path / "kubeconfig", 1)
    with pytest.raises(TunelineError, match=r"http://127\.0\.0\.1:1 cannot be reached"):
        target().find("tiny")


def test_stopping_scales_to_nothing_and_keeps_the_address(cluster: StubCluster) -> None:
    assert not target().stop("tiny")
    target(replicas=2).bring_up("tiny", FOLDER, None, timeout=5)
    assert target().stop("tiny")
    assert cluster.pods == []
    assert target().find("tiny") is None
    assert "Service" in cluster.objects
    assert not target().stop("tiny")
    assert target(replicas=2).bring_up("tiny", FOLDER, None, timeout=5).started
    assert len(cluster.pods) == 2


def test_a_deployment_leaves_what_the_autoscaler_made_of_the_number_of_pods(cluster: StubCluster) -> None:
    scaled = target(replicas=1, max_replicas=4)
    scaled.bring_up("tiny", FOLDER, None, timeout=5)
    cluster.objects["Deployment"]["spec"]["replicas"] = 3
    scaled.bring_up("tiny", FOLDER, None, timeout=5)
    assert len(cluster.pods) == 3
    target(replicas=1).bring_up("tiny", FOLDER, None, timeout=5)  # max_replicas was taken out of the stack file
    assert len(cluster.pods) == 1
    assert "HorizontalPodAutoscaler" not in cluster.objects


@pytest.mark.parametrize("follow", [False, True])
def test_the_logs_of_all_pods_are_shown_with_the_pods_in_front(cluster: StubCluster, follow: bool) -> None:
    target(replicas=2).bring_up("tiny", FOLDER, None, timeout=5)
    lines = sorted(target().logs("tiny", follow=follow, tail=5))
    assert [line[:5] for line in lines] == ["00001", "00001", "00002", "00002"]
    assert "00002 second line" in lines


def test_a_local_artifact_store_is_refused_with_the_way_out() -> None:
    for folder in ("/home/me/store/tuneline/endpoints/tiny", "file:///home/me/store"):
        with pytest.raises(UserError, match="cannot read") as failure:
            target().check(folder)
        assert failure.value.exit_code == 2
        assert "remote artifact store" in failure.value.hint


def test_a_context_that_is_not_there_is_named(cluster: StubCluster) -> None:
    target().check(FOLDER)
    with pytest.raises(UserError, match="nope"):
        target(context="nope").check(FOLDER)


def test_a_pod_takes_its_own_cluster_whatever_context_the_stack_file_names(
    cluster: StubCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    with pytest.raises(UserError, match="Service token file") as failure:  # no pod here
        target(context="laptop").check(FOLDER)
    assert "service account whose token is mounted" in failure.value.hint


def test_an_endpoint_that_only_the_cluster_reaches_says_how_to_reach_it_from_here(cluster: StubCluster) -> None:
    with pytest.raises(
        TunelineError, match=r"http://tuneline-tiny\.ml\.svc:8000 leads to it in the cluster"
    ) as failure:
        target(url=None).bring_up("tiny", FOLDER, 1, timeout=5)
    assert "kubectl -n ml port-forward service/tuneline-tiny 8000" in failure.value.hint
