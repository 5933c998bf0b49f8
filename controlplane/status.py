"""How an endpoint is: looked up at its process, its gateway and its releases, whatever ZenML remembers of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from pydantic import BaseModel, ConfigDict

from controlplane.challenger import canary_of
from controlplane.endpoint import active_deployer
from controlplane.keys import list_keys
from controlplane.storage import Storage
from stacks.deployer import process
from tuneline import paths
from tuneline.release.client import EndpointClient


class EngineStatus(BaseModel):
    """What the gateway says of its engine.

    Attributes:
        state: in its own words: ready, restarting, not answering …
        starts: engine processes since the gateway's start.
        since: when this one was started; None if it runs on another machine.
    """

    model_config = ConfigDict(frozen=True)

    state: str
    pid: int | None
    starts: int | None
    since: datetime | None
    error: str | None


class EndpointStatus(BaseModel):
    """An endpoint at this moment.

    Attributes:
        state: ``not running``, ``starting`` (its process has no address yet), ``not answering``, or its own words.
        since: when its process was started; None if it is not one of this machine.
        live: sequence number of the release that it has applied.
        wanted: of the newest release there is.
        reason: of the newest release.
        error: what keeps it from answering, or from the newest release.
        traffic: percent of the unpinned traffic per version, by the newest release.
        challenger: the version that a canary runs for.
        keys: how many API keys it knows.
        logs: the folder of its logs on this machine.
    """

    model_config = ConfigDict(frozen=True)

    endpoint: str
    running: bool
    ready: bool
    state: str
    url: str | None
    pid: int | None
    since: datetime | None
    live: int | None
    wanted: int | None
    reason: str | None
    error: str | None
    traffic: dict[str, float]
    challenger: str | None
    shadow: bool
    engine: EngineStatus | None
    keys: int
    folder: str
    logs: Path | None


def endpoint_status(endpoint: str, storage: Storage) -> EndpointStatus:
    """Look at an endpoint; nothing is started, stopped or written.

    Raises:
        UserError: the active stack has no deployer of ours.
    """
    deployer = active_deployer()
    workdir = paths.endpoint_workdir(endpoint)
    elsewhere = (deployer.config.url or "").replace("{endpoint}", endpoint).rstrip("/")
    serving = process.find(workdir) if deployer.runs_here else None
    found = None if serving else deployer.find_endpoint(endpoint)
    url = serving.url if serving else found.url if found else elsewhere or None
    answer = _readiness(endpoint, url) if serving or found else None
    release = storage.releases(endpoint).current()
    folder = storage.endpoint_folder(endpoint)
    error = answer.get("error") if answer else None
    if serving is not None and serving.folder != folder:
        error = f"it runs for another stack: it reads its releases from {serving.folder}"
    if answer is not None:
        state = str(answer.get("state", "answering"))
    elif serving is not None:
        state = "not answering" if url else "starting"
    else:
        state = f"nobody answers at {url}" if url else "not running"
    return EndpointStatus(
        endpoint=endpoint,
        running=serving is not None or found is not None,
        ready=bool(answer and answer.get("ready")),
        state=state,
        url=url,
        pid=serving.pid if serving else None,
        since=_since(serving.pid) if serving else None,
        live=answer.get("release") if answer else None,
        wanted=release.sequence if release else None,
        reason=release.reason if release else None,
        error=error,
        traffic=release.traffic() if release else {},
        challenger=canary_of(release),
        shadow=bool(release and release.routes.shadow),
        engine=_engine(answer["engine"], here=serving is not None) if answer and answer.get("engine") else None,
        keys=_keys(storage, endpoint),
        folder=folder,
        logs=workdir if workdir.exists() and deployer.runs_here else None,
    )


def _readiness(endpoint: str, url: str | None) -> dict[str, Any] | None:
    if url is None:
        return None
    try:
        answer = EndpointClient(url=url, endpoint=endpoint, key="", timeout=5).readiness()  # which needs no key
    except ValueError:  # something else answers there
        return None
    return answer if "release" in answer else None


def _engine(detail: dict[str, Any], *, here: bool) -> EngineStatus:
    pid = detail.get("pid")
    return EngineStatus(
        state=str(detail.get("state", "unknown")),
        pid=pid,
        starts=detail.get("starts"),
        since=_since(pid) if here and pid else None,
        error=detail.get("error"),
    )


def _since(pid: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(psutil.Process(pid).create_time(), UTC)
    except psutil.NoSuchProcess:
        return None


def _keys(storage: Storage, endpoint: str) -> int:
    """Keys that open something now."""
    return sum(key.state() == "active" for key in list_keys(endpoint, storage))
