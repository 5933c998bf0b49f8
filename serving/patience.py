"""How long a client may take to send a request: what comes drop by drop, or not at all, is cut off.

uvicorn waits for ever for the rest of a request, and a thousand connections that send one byte a minute would hold
their sockets, and what they sent, for as long as they like.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.gateway.errors import ApiError

REQUEST_SECONDS = 60.0  # 4 MiB, the largest body by default, at half a megabit per second


class PatientProtocol(HttpToolsProtocol):
    """HTTP/1.1 with a deadline for every request: from its first byte, or from the connection's start, to its last."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a first request."""
        super().connection_made(transport)
        self._wait()

    def on_message_begin(self) -> None:
        """Wait for the rest of a request."""
        super().on_message_begin()
        self._wait()

    def on_message_complete(self) -> None:
        """The request is whole; an answer may take its time."""
        self._stop_waiting()
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing to wait for."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._stop_waiting()
        self._deadline = self.loop.call_later(REQUEST_SECONDS, self._cut_off)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _cut_off(self) -> None:
        cycle: Any = self.cycle
        begun = self.scope is not None and not self.pipeline
        if begun and (cycle is None or not cycle.response_started or cycle.response_complete):
            error = ApiError(408, f"The request was not whole after {REQUEST_SECONDS:.0f} s.", code="request_timeout")
            body = json.dumps(error.body()).encode()
            head = "HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\nconnection: close\r\n"
            self.transport.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        self.transport.close()
