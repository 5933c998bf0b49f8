"""An endpoint in a cluster: its objects applied, its pods waited for, stopped and listened to.

A pod counts as up once its gateway answers, and a release as live once every pod says so: readiness needs a version in
production, which the first release of an endpoint does not have before its candidate is proven.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator

from stacks.deployer.readiness import STUCK_SECONDS, Readiness, answers, read
from stacks.deployer.targets.kubernetes import pods
from stacks.deployer.targets.kubernetes.cluster import Cluster, in_cluster
from stacks.deployer.targets.kubernetes.manifests import PORT, REVISION, Manifest, Plan, labels, manifests, object_name
from stacks.deployer.targets.settings import KubernetesSettings
from stacks.deployer.targets.target import EndpointInfo, check_remote
from tuneline.errors import TunelineError

_TICK_SECONDS = 1.0
_HINT = (
    "What was applied stays, for you to look at, and pods of an earlier rollout go on serving. "
    "`python run.py stop` ends them all."
)


class Kubernetes:
    """Endpoints of one namespace.

    Args:
        settings: how they run.
        poll_seconds: how often a pod looks for a new release.
        drain_seconds: what answers under way get when a pod ends.
    """

    def __init__(self, settings: KubernetesSettings, poll_seconds: float, drain_seconds: float) -> None:
        self._settings = settings
        self._poll_seconds = poll_seconds
        self._drain_seconds = drain_seconds

    def check(self, folder: str) -> None:
        """Refuse a folder that pods cannot read, and a cluster without a way to it."""
        check_remote(folder, "kubernetes")
        self._cluster()

    def bring_up(self, endpoint: str, folder: str, sequence: int | None, timeout: float) -> EndpointInfo:
        """Apply the objects and wait for the pods. What has not changed in the settings does not change there."""
        deadline = time.monotonic() + timeout
        cluster = self._cluster()
        running = _replicas(cluster.get("Deployment", object_name(endpoint)))
        settings = self._settings
        most = settings.max_replicas or settings.replicas
        plan = Plan(
            endpoint=endpoint,
            folder=folder,
            settings=settings,
            poll_seconds=self._poll_seconds,
            drain_seconds=self._drain_seconds,
            replicas=max(settings.replicas, min(running, most)),  # what an autoscaler made of it stays
        )
        applied = {manifest["kind"]: manifest for manifest in manifests(plan)}
        for manifest in applied.values():
            cluster.apply(manifest)
        if "HorizontalPodAutoscaler" not in applied:
            cluster.delete("HorizontalPodAutoscaler", plan.name)
        revision = applied["Deployment"]["spec"]["template"]["metadata"]["labels"][REVISION]
        self._await_pods(cluster, plan, revision, deadline, timeout)
        if sequence is not None:
            self._await_release(cluster, endpoint, sequence, deadline)
        url = self.address(endpoint)
        if settings.url is None and not in_cluster() and not answers(url):
            raise TunelineError(
                f"the endpoint {endpoint!r} is up, and {url} leads to it in the cluster alone",
                hint=f"Run `kubectl -n {settings.namespace} port-forward service/{plan.name} {PORT}` and set "
                f"kubernetes.url to http://127.0.0.1:{PORT} in the stack file, or to your ingress.",
            )
        return EndpointInfo(url=url, pid=None, started=running == 0)

    def find(self, endpoint: str) -> EndpointInfo | None:
        """The endpoint if one of its pods is up."""
        if any(pods.has_started(pod) for pod in self._pods(self._cluster(), endpoint)):
            return EndpointInfo(url=self.address(endpoint), pid=None, started=False)
        return None

    def stop(self, endpoint: str) -> bool:
        """Scale it to nothing and wait until its pods have drained. Its address stays, for the next start."""
        cluster = self._cluster()
        running = _replicas(cluster.get("Deployment", object_name(endpoint)))
        if not running:
            return False
        cluster.scale(object_name(endpoint), 0)
        deadline = time.monotonic() + self._drain_seconds + 60
        while left := self._pods(cluster, endpoint):
            if time.monotonic() > deadline:
                names = ", ".join(pods.name(pod) for pod in left)
                raise TunelineError(f"these pods of the endpoint {endpoint!r} have not ended: {names}")
            time.sleep(_TICK_SECONDS)
        return True

    def logs(self, endpoint: str, *, follow: bool, tail: int | None) -> Iterator[str]:
        """Lines of all its pods, each with the end of the pod's name in front."""
        cluster = self._cluster()
        names = [pods.name(pod) for pod in self._pods(cluster, endpoint)]
        if not follow:
            for name in names:
                yield from (f"{name[-5:]} {line}" for line in cluster.logs(name, tail=tail))
            return
        lines: queue.Queue[str | None] = queue.Queue()

        def copy(name: str) -> None:
            try:
                for line in cluster.logs(name, tail=tail, follow=True):
                    lines.put(f"{name[-5:]} {line}")
            finally:
                lines.put(None)

        for name in names:
            threading.Thread(target=copy, args=(name,), daemon=True).start()
        ended = 0
        while ended < len(names):
            line = lines.get()
            if line is None:
                ended += 1
            else:
                yield line

    def address(self, endpoint: str) -> str:
        """Where clients reach it."""
        settings = self._settings
        if settings.url:
            return settings.url.replace("{endpoint}", endpoint).rstrip("/")
        return f"http://{object_name(endpoint)}.{settings.namespace}.svc:{PORT}"

    def _cluster(self) -> Cluster:
        return Cluster(self._settings.namespace, self._settings.context)

    def _pods(self, cluster: Cluster, endpoint: str) -> list[Manifest]:
        return cluster.objects("Pod", labels=labels(endpoint))

    def _await_pods(self, cluster: Cluster, plan: Plan, revision: str, deadline: float, timeout: float) -> None:
        """Wait until as many pods as wanted are up, all of them of this revision."""
        while True:
            alive = [pod for pod in self._pods(cluster, plan.endpoint) if not pods.is_ending(pod)]
            new = [pod for pod in alive if pod["metadata"]["labels"].get(REVISION) == revision]
            if len(new) == len(alive) >= plan.replicas and all(pods.has_started(pod) for pod in new):
                return
            for pod in new:
                if said := pods.hopeless(pod):
                    raise TunelineError(
                        f"pod {pods.name(pod)} of the endpoint {plan.endpoint!r} does not start: {said}\n"
                        f"{pods.story(cluster, pod)}".rstrip(),
                        hint=_HINT,
                    )
            if time.monotonic() > deadline:
                late = [pod for pod in new if not pods.has_started(pod)] or alive
                said = "\n".join(f"pod {pods.name(pod)}: {pods.why_not(pod)}" for pod in late) or "there is no pod"
                stories = "\n".join(filter(None, (pods.story(cluster, pod) for pod in late[:1])))
                raise TunelineError(
                    f"the endpoint {plan.endpoint!r} is not up after {timeout:.0f} s\n{said}\n{stories}".rstrip(),
                    hint=_HINT,
                )
            time.sleep(_TICK_SECONDS)

    def _await_release(self, cluster: Cluster, endpoint: str, sequence: int, deadline: float) -> None:
        """Wait until every pod has applied a release; a balancer would show one pod's state and hide the others'."""
        stuck_since: dict[str, float] = {}
        while True:
            late: dict[str, Readiness | None] = {}
            for pod in self._pods(cluster, endpoint):
                if pods.is_ending(pod):
                    continue
                seen = read(cluster.readyz(pods.name(pod)) or b"")
                if seen is None or seen.release is None or seen.release < sequence:
                    late[pods.name(pod)] = seen
            if not late:
                return
            for name, seen in late.items():
                if seen is None or not seen.is_stuck_before(sequence):
                    stuck_since.pop(name, None)
                elif time.monotonic() - stuck_since.setdefault(name, time.monotonic()) > STUCK_SECONDS:
                    raise TunelineError(f"pod {name} cannot apply release {sequence}: {seen.error}")
            if time.monotonic() > deadline:
                said = "\n".join(
                    f"pod {name}: {f'{seen.state}, release {seen.release}' if seen else 'gives no answer'}"
                    for name, seen in late.items()
                )
                raise TunelineError(f"the endpoint {endpoint!r} has not applied release {sequence} everywhere\n{said}")
            time.sleep(min(_TICK_SECONDS, self._poll_seconds))


def _replicas(deployment: Manifest | None) -> int:
    return int(deployment["spec"].get("replicas", 1)) if deployment else 0
