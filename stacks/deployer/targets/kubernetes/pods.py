"""What the pods of a rollout say: started, failed for good, or waiting for something."""

from __future__ import annotations

from typing import Any

from stacks.deployer.targets.kubernetes.cluster import Cluster
from stacks.deployer.targets.kubernetes.manifests import Manifest

# The kubelet goes on trying, but nothing will change before somebody changes something.
_HOPELESS = {
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "CrashLoopBackOff",
}


def name(pod: Manifest) -> str:
    """Its name."""
    return str(pod["metadata"]["name"])


def is_ending(pod: Manifest) -> bool:
    """Whether it has been told to end."""
    return "deletionTimestamp" in pod["metadata"]


def has_started(pod: Manifest) -> bool:
    """Whether its gateway has answered. It may not be ready: that takes an engine and a release with a production."""
    return bool(_container(pod).get("started")) and "running" in _container(pod).get("state", {})


def hopeless(pod: Manifest) -> str | None:
    """Why it will never start, in the kubelet's words; None if it may."""
    waiting = _container(pod).get("state", {}).get("waiting", {})
    if waiting.get("reason") not in _HOPELESS:
        return None
    return ": ".join(filter(None, (waiting["reason"], waiting.get("message"))))


def why_not(pod: Manifest) -> str:
    """What it is waiting for."""
    if said := hopeless(pod):
        return said
    for condition in pod.get("status", {}).get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"{condition.get('reason')}: {condition.get('message')}"
    waiting = _container(pod).get("state", {}).get("waiting", {})
    return str(waiting.get("reason") or pod.get("status", {}).get("phase") or "Unknown")


def story(cluster: Cluster, pod: Manifest) -> str:
    """A pod's last events and the end of its log, for an error's message."""
    events = cluster.objects("Event", fields=f"involvedObject.name={name(pod)}")
    events.sort(key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")
    lines = [f"  {event.get('reason')}: {event.get('message')}" for event in events[-3:]]
    if restarts := _container(pod).get("restartCount"):
        lines.append(f"--- last lines of {name(pod)} before restart {restarts}")
        lines += cluster.logs(name(pod), tail=20, previous=True)
    elif has_started(pod):
        lines.append(f"--- last lines of {name(pod)}")
        lines += cluster.logs(name(pod), tail=20)
    return "\n".join(lines)


def _container(pod: Manifest) -> dict[str, Any]:
    statuses = pod.get("status", {}).get("containerStatuses") or [{}]
    return dict(statuses[0])
