"""Around every request: an id, its metrics, its span, one line in the log, and an answer even when something breaks."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass, field

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.gateway.errors import ApiError
from serving.gateway.outcome import CLIENT_GONE, Outcome, Question
from serving.gateway.traces import Traces
from serving.metrics import Metrics

logger = logging.getLogger(__name__)

_QUIET = frozenset({"/livez", "/readyz", "/metrics"})
_REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,64}$")


@dataclass
class Record:
    """What is known about a request while it is answered; lies in its scope.

    Attributes:
        question: what was asked, once it was let in.
        outcome: what became of that at a version.
        traceparent: W3C trace context for the engine, if traces are on.
    """

    request_id: str
    started: float
    path: str
    key: str = "-"
    version: str = ""
    streamed: bool = False
    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    question: Question | None = None
    outcome: Outcome | None = None
    traceparent: str | None = None


class Observe:
    """The outermost ASGI layer of the gateway.

    Args:
        app: what answers.
        metrics: where it is counted.
        paths: those that exist; a stranger's are counted together, lest they fill the metrics.
        traces: where spans go, if they are wanted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: Collection[str], traces: Traces | None) -> None:
        self._app = app
        self._metrics = metrics
        self._paths = frozenset(paths)
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; anything but HTTP is passed on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in self._paths else "other"
        record = scope["tuneline"] = Record(_request_id(scope), time.perf_counter(), path)
        traces = self._traces if path not in _QUIET else None
        span = traces.begin(record, scope["method"], _headers(scope)) if traces is not None else None

        async def observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                own = [("x-request-id", record.request_id), *record.headers]
                own_bytes = [(name.encode(), value.encode()) for name, value in own]
                message["headers"] = [*message.get("headers", ()), *own_bytes]
            elif record.streamed and message.get("body"):
                record.streamed = False
                self._metrics.ttft.labels(self._metrics.endpoint, record.version, path).observe(
                    time.perf_counter() - record.started
                )
            await send(message)

        try:
            await self._app(scope, receive, observed)
        except ClientDisconnect:
            record.status = CLIENT_GONE  # before its request was whole; nobody is left to answer, nothing has failed
        except Exception:
            logger.exception("request failed", extra={"fields": {"request_id": record.request_id}})
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
            if traces is not None and span is not None:
                traces.end(span, record, record.status or CLIENT_GONE)

    def _write(self, record: Record, method: str) -> None:
        seconds = time.perf_counter() - record.started
        status = str(record.status or CLIENT_GONE)
        endpoint = self._metrics.endpoint
        self._metrics.requests.labels(endpoint, record.version, record.path, status).inc()
        self._metrics.seconds.labels(endpoint, record.version, record.path).observe(seconds)
        if record.path not in _QUIET:
            fields = _fields(record) | {"method": method, "status": int(status), "ms": round(seconds * 1000, 1)}
            logger.info("%s %s %s", method, record.path, status, extra={"fields": fields})


def _fields(record: Record) -> dict[str, object]:
    """What the log says of every request; of most, some of it is None."""
    outcome = record.outcome
    return {
        "request_id": record.request_id,
        "path": record.path,
        "key": record.key if record.key != "-" else None,
        "version": record.version or None,
        "role": outcome.role if outcome is not None else None,
        "ttft_ms": outcome.ttft_ms if outcome is not None else None,
        "prompt_tokens": outcome.prompt_tokens if outcome is not None else None,
        "completion_tokens": outcome.completion_tokens if outcome is not None else None,
        "cached": outcome.cached if outcome is not None else None,
    }


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def _request_id(scope: Scope) -> str:
    """The client's own id when it is harmless, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text: str = value.decode("latin-1")
            if _REQUEST_ID.match(text):
                return text
    return uuid.uuid4().hex
