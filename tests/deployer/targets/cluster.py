"""A stand-in for a cluster's API server: keeps what is applied, has the Deployment's pods, writes down requests."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

_KINDS = {
    "serviceaccounts": "ServiceAccount",
    "services": "Service",
    "deployments": "Deployment",
    "networkpolicies": "NetworkPolicy",
    "poddisruptionbudgets": "PodDisruptionBudget",
    "horizontalpodautoscalers": "HorizontalPodAutoscaler",
}
_PATH = re.compile(
    r"^/apis?/[a-z0-9./]+?/namespaces/(?P<namespace>[^/]+)/(?P<kind>[a-z]+)(/(?P<name>[^/]+))?(/(?P<sub>.+))?$"
)


@dataclass
class StubCluster:
    """What the stub is told, and what it saw.

    Attributes:
        objects: applied manifests by kind.
        state: of new pods' container: {"running": {}} or {"waiting": {...}}.
        restarts: of new pods' container.
        release: what each pod says in /readyz; error goes with it.
        refuse: status and message for every write.
        requests: method and path of each request, in order.
    """

    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    pods: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=lambda: {"running": {}})
    conditions: list[dict[str, Any]] = field(default_factory=list)
    restarts: int = 0
    release: int | None = 1
    error: str | None = None
    refuse: tuple[int, str] | None = None
    requests: list[str] = field(default_factory=list)
    content_types: set[str] = field(default_factory=set)
    _made: int = 0

    def reconcile(self) -> None:
        """What the Deployment's controller does, in an instant."""
        deployment = self.objects["Deployment"]
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        kept = [pod for pod in self.pods if pod["metadata"]["labels"] == labels][: deployment["spec"]["replicas"]]
        while len(kept) < deployment["spec"]["replicas"]:
            self._made += 1
            kept.append(
                {
                    "metadata": {"name": f"tuneline-tiny-6b4f-{self._made:05d}", "labels": labels},
                    "status": {
                        "phase": "Running" if "running" in self.state else "Pending",
                        "conditions": self.conditions,
                        "containerStatuses": [
                            {"state": self.state, "started": "running" in self.state, "restartCount": self.restarts}
                        ],
                    },
                }
            )
        self.pods = kept

    def answer(self, method: str, url: str, body: Any) -> tuple[int, Any]:
        found = _PATH.match(urlsplit(url).path)
        assert found, url
        query = {key: values[0] for key, values in parse_qs(urlsplit(url).query).items()}
        kind, name, sub = found["kind"], found["name"], found["sub"]
        if self.refuse and method in ("PATCH", "DELETE"):
            return self.refuse[0], {"kind": "Status", "message": self.refuse[1]}
        if kind == "pods" and name is None:
            return 200, {"items": self.pods}
        if kind == "pods" and sub == "log":
            return 200, f"log of {name}, previous={query['previous']}\nsecond line\n"
        if kind == "pods" and sub == "proxy/readyz":
            ready = self.release is not None and self.error is None
            detail = {"ready": ready, "state": "ready" if ready else "no release", "release": self.release}
            return 200 if ready else 503, detail | {"error": self.error}
        if kind == "events":
            return 200, {"items": [event for event in self.events if query["fieldSelector"].endswith(event["pod"])]}
        kept = self.objects.get(_KINDS[kind])
        if method == "GET":
            return (200, kept) if kept else (404, {"message": f"{kind} {name!r} not found"})
        if method == "DELETE":
            return (
                (200, {"kind": "Status"}) if self.objects.pop(_KINDS[kind], None) else (404, {"message": "not found"})
            )
        assert method == "PATCH"
        if sub == "scale":
            kept["spec"]["replicas"] = body["spec"]["replicas"]  # type: ignore[index]
        else:
            assert query == {"fieldManager": "tuneline", "force": "true"}
            assert (body["metadata"]["name"], body["kind"]) == (name, _KINDS[kind])
            self.objects[_KINDS[kind]] = body
        if kind == "deployments":
            self.reconcile()
        return 200, self.objects[_KINDS[kind]]


def serve(stub: StubCluster) -> ThreadingHTTPServer:
    """Start it on a free port of the loopback interface."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            stub.requests.append(f"{self.command} {urlsplit(self.path).path}")
            if self.command == "PATCH":
                stub.content_types.add(self.headers["Content-Type"])
            status, content = stub.answer(self.command, self.path, body)
            data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain" if isinstance(content, str) else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            self._answer()

        def do_PATCH(self) -> None:
            self._answer()

        def do_DELETE(self) -> None:
            self._answer()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server


def kubeconfig(file: Path, port: int) -> Path:
    """A kubeconfig whose context ``test`` is the stub."""
    file.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "stub", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
                "users": [{"name": "me", "user": {"token": "x"}}],
                "contexts": [{"name": "test", "context": {"cluster": "stub", "user": "me"}}],
                "current-context": "test",
            }
        )
    )
    return file
