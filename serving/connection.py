"""One client connection: uvicorn's HTTP protocol with limits on a request's head and on the time it may take to come.

uvicorn's httptools protocol has none, nor a time by which a new connection has to say something: whoever sends a header
without end, or a byte now and then, holds memory and a file descriptor for as long as he likes. How large a body may be
is the gateway's to say, which sees it; it never sees a head that does not end.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from serving.gateway.errors import ApiError

HEAD_BYTES = 64 * 2**10  # nginx takes 32 KiB, uvicorn's other protocol 64
HEAD_SECONDS = 10.0  # from a head's first byte to its last; a slow phone needs one
REQUEST_SECONDS = (
    60.0  # from its first byte to its last: 4 MiB, the largest body by default, at half a megabit per second
)
PIPELINED = 32  # requests that wait on a connection for the one before them; browsers' limit was 8

_REASONS = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}


class Connection(HttpToolsProtocol):
    """A connection that ends when its head is too large, too slow or none, with an error in OpenAI's shape."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._in_head = True
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._request_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give a connection that says nothing the same time as one that has nothing more to say."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers; uvicorn's own stays when the connection broke, and with it all it refers to."""
        self._unset_keepalive_if_required()
        self._end_of_head()
        self._end_of_request()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless it is a head that is too large by now."""
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_timer is None:
                self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_too_slow)
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self._refuse(ApiError(400, "This is not a valid HTTP/1.1 request.", code="invalid_http"))
        except httptools.HttpParserUpgrade as offer:
            self._decline_upgrade(data[offer.args[0] :])
        if self._in_head and self._head_bytes > HEAD_BYTES:
            self._refuse(ApiError(431, f"The request's head is larger than {HEAD_BYTES} bytes.", code="head_too_large"))

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._in_head = True
        self._end_of_request()
        self._request_timer = self.loop.call_later(REQUEST_SECONDS, self._request_too_slow)

    def on_headers_complete(self) -> None:
        """A head has ended."""
        self._end_of_head()
        if self._offers_upgrade():
            return  # it comes again, without the offer
        super().on_headers_complete()
        if len(self.pipeline) > PIPELINED:
            self.transport.close()

    def on_message_complete(self) -> None:
        """A request has ended, and the next one's head may begin."""
        if self._offers_upgrade():
            return
        self._end_of_request()  # an answer may take its time
        super().on_message_complete()
        self._in_head = True

    def _offers_upgrade(self) -> bool:
        return bool(self.parser.should_upgrade()) and self.parser.get_method() != b"CONNECT"

    def _decline_upgrade(self, rest: bytes) -> None:
        """Read the request again as the plain one it also is (RFC 9110, 7.8).

        After an offer the parser takes the body for the other protocol. Java's HttpClient offers HTTP/2 with its first
        request, a POST too, and would be told that its body is empty.
        """
        head = b"%s %s HTTP/%s\r\n" % (
            self.parser.get_method(),
            self.url,
            self.parser.get_http_version().encode(),
        )
        fields = b"".join(b"%s: %s\r\n" % field for field in self.headers if field[0] != b"upgrade")
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(head + fields + b"\r\n" + rest)

    def _end_of_head(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _end_of_request(self) -> None:
        if self._request_timer is not None:
            self._request_timer.cancel()
            self._request_timer = None

    def _request_too_slow(self) -> None:
        self._request_timer = None
        self._refuse(ApiError(408, f"The request was not whole after {REQUEST_SECONDS:.0f} s.", code="request_timeout"))

    def _head_too_slow(self) -> None:
        self._head_timer = None
        if self.cycle is not None and not self.cycle.response_complete:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_too_slow)
            return  # it came behind a request that is being answered
        self._refuse(ApiError(408, f"The request's head took longer than {HEAD_SECONDS:.0f} s.", code="head_too_slow"))

    def _refuse(self, error: ApiError) -> None:
        """Say why and close; only close, where the words would be taken for the answer to an earlier request."""
        if self.transport.is_closing():
            return
        answering = self.cycle is not None and not self.cycle.response_complete
        if not answering or (self.cycle.more_body and not self.cycle.response_started and not self.pipeline):
            response = error.response()
            head = f"HTTP/1.1 {error.status} {_REASONS[error.status]}\r\nconnection: close\r\n".encode()
            fields = b"".join(b"%s: %s\r\n" % field for field in response.raw_headers)
            self.transport.write(head + fields + b"\r\n" + bytes(response.body))
        if answering:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()
