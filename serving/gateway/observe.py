"""Around every request: an id, its metrics, one line in the log, and an answer even when something breaks."""

from __future__ import annotations

import logging
import re
import time
import uuid
from dataclasses import dataclass

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.gateway.errors import ApiError
from serving.metrics import Metrics

logger = logging.getLogger(__name__)

PATHS = frozenset(
    {"/livez", "/readyz", "/metrics", "/release", "/v1/models", "/v1/chat/completions", "/v1/completions"}
)
_QUIET = frozenset({"/livez", "/readyz", "/metrics"})
_CLIENT_GONE = 499  # nginx's number for a client that left before it was answered
_REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,64}$")


@dataclass
class Record:
    """What is known about a request while it is answered; lies in its scope."""

    request_id: str
    started: float
    path: str
    key: str = "-"
    version: str = ""
    streamed: bool = False
    status: int = 0


class Observe:
    """The outermost ASGI layer of the gateway."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; anything but HTTP is passed on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in PATHS else "other"
        record = scope["tuneline"] = Record(_request_id(scope), time.perf_counter(), path)

        async def observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", record.request_id.encode())]
            elif record.streamed and message.get("body"):
                record.streamed = False
                self._metrics.ttft.labels(self._metrics.endpoint, record.version, path).observe(
                    time.perf_counter() - record.started
                )
            await send(message)

        try:
            await self._app(scope, receive, observed)
        except ClientDisconnect:
            record.status = _CLIENT_GONE  # before its request was whole; nobody is left to answer, nothing has failed
        except Exception:
            logger.exception("request %s failed", record.request_id)
            if record.status:
                raise  # the answer has begun: all that is left is to break the connection
            error = ApiError(
                500,
                f"The gateway failed; its log has the reason under request {record.request_id}.",
                code="internal_error",
            )
            await error.response()(scope, receive, observed)
        finally:
            self._write(record, scope["method"])

    def _write(self, record: Record, method: str) -> None:
        seconds = time.perf_counter() - record.started
        status = str(record.status or _CLIENT_GONE)
        endpoint = self._metrics.endpoint
        self._metrics.requests.labels(endpoint, record.version, record.path, status).inc()
        self._metrics.seconds.labels(endpoint, record.version, record.path).observe(seconds)
        if record.path not in _QUIET:
            logger.info(
                "%s %s %s key=%s version=%s %.0f ms request=%s",
                *(method, record.path, status, record.key, record.version or "-", seconds * 1000, record.request_id),
            )


def _request_id(scope: Scope) -> str:
    """The client's own id when it is harmless, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text: str = value.decode("latin-1")
            if _REQUEST_ID.match(text):
                return text
    return uuid.uuid4().hex
