"""A stand-in for BentoCloud: the REST paths that BentoML 1.4.39's client calls to push a Bento and to deploy it."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

TOKEN = "stub-token"
_PERSON = {"name": "me", "email": "me@example.com", "first_name": "", "last_name": ""}


def resource(name: str, kind: str, **more: Any) -> dict[str, Any]:
    times = {"created_at": "2026-01-01 00:00:00.0", "updated_at": None, "deleted_at": None}
    return {"uid": f"uid-{name}", "name": name, "resource_type": kind, "labels": [], **times, **more}


_CLUSTER = resource("aws-1", "cluster", description="", organization_name="org", creator=_PERSON, is_first=True)


@dataclass
class StubCloud:
    """What the stub is told, and what it saw.

    Attributes:
        statuses: what a deployment says, one after the other; the last one stays.
        url: where an endpoint answers.
        requests: method and path of each request, in order.
        bodies: of each POST and PUT to deployments.
        uploaded: bytes of each pushed Bento by version.
    """

    statuses: list[str] = field(default_factory=lambda: ["running"])
    url: str = "https://tuneline-tiny.example.com"
    requests: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    uploaded: dict[str, int] = field(default_factory=dict)
    deployed: dict[str, Any] | None = None

    def answer(self, method: str, path: str, body: bytes, token: str | None) -> tuple[int, Any]:
        self.requests.append(f"{method} {path}")
        if token != TOKEN:
            return 401, {"error": "unauthorized"}
        parts = path.strip("/").split("/")[2:]
        if parts[0] == "bento_repositories":
            return self._bentos(method, parts, body)
        assert parts[0] == "deployments", path
        if method in ("POST", "PUT") and parts[-1] != "terminate":
            wanted = json.loads(body)
            self.bodies.append(wanted)
            self.deployed = wanted | {"name": wanted.get("name") or parts[1]}
        if self.deployed is None or (len(parts) > 1 and parts[1] != self.deployed["name"]):
            return 404, {"error": "record not found"}
        if parts[-1] == "terminate":
            self.statuses = ["terminated"]
        return 200, self._deployment()

    def _bentos(self, method: str, parts: list[str], body: bytes) -> tuple[int, Any]:
        if len(parts) == 1:
            return 200, self._repository()
        if len(parts) == 2:
            return (200, self._repository()) if self.uploaded else (404, {"error": "record not found"})
        version = parts[3] if len(parts) > 3 else json.loads(body)["version"]
        if method == "GET":
            return (200, self._bento(version)) if version in self.uploaded else (404, {"error": "record not found"})
        if parts[-1] == "upload":
            self.uploaded[version] = len(body)
        return 200, self._bento(version)

    def _repository(self) -> dict[str, Any]:
        return resource("tuneline-endpoint", "bento_repository", description="", latest_bento=None)

    def _bento(self, version: str) -> dict[str, Any]:
        texts = ("description", "image_build_status", "upload_finished_reason")
        texts += ("presigned_upload_url", "presigned_download_url")
        status = "success" if version in self.uploaded else "pending"
        more = dict.fromkeys(texts, "") | {"version": version, "upload_status": status}
        return resource(version, "bento", transmission_strategy="proxy", manifest=None, **more)

    def _deployment(self) -> dict[str, Any]:
        assert self.deployed is not None
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        name, _, version = self.deployed["bento"].partition(":")
        target = resource(
            "main",
            "deployment_target",
            creator=_PERSON,
            config={key: value for key, value in self.deployed.items() if key not in ("name", "bento")},
            bento=self._bento(version) | {"repository": self._repository() | {"name": name}},
        )
        revision = resource("r1", "deployment_revision", creator=_PERSON, status="active", targets=[target])
        more = {"status": status, "kube_namespace": "ns", "creator": _PERSON, "cluster": _CLUSTER}
        return resource(self.deployed["name"], "deployment", latest_revision=revision, urls=[self.url], **more)


def serve(stub: StubCloud) -> ThreadingHTTPServer:
    """Start it on a free port of the loopback interface."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = b""
            if self.headers.get("Transfer-Encoding") == "chunked":
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            elif length := int(self.headers.get("Content-Length") or 0):
                body = self.rfile.read(length)
            token = self.headers.get("X-YATAI-API-TOKEN")
            status, content = stub.answer(self.command, urlsplit(self.path).path, body, token)
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def do_PUT(self) -> None:
            self._answer()

        def do_PATCH(self) -> None:
            self._answer()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server
