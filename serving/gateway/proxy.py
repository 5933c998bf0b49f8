"""One question to the engine and its answer back: streamed as it comes, cancelled when the client leaves.

The engine's answer goes through as bytes. Only the ``model`` field is rewritten, whole server-sent events at a time,
because parsing and writing JSON for every token costs more than the rest of the gateway.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from typing import Any

import aiohttp
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.engine.supervisor import Engine
from serving.gateway.errors import ApiError, unavailable
from serving.gateway.observe import Record
from serving.gateway.routing import InFlight, RouteTable, Target
from serving.gateway.schemas import ChatRequest, CompletionRequest

logger = logging.getLogger(__name__)

_EVENT_END = b"\n\n"


class Live:
    """What the gateway answers from just now.

    Attributes:
        table: the applied release; the reconciler replaces it.
    """

    def __init__(self, endpoint: str, engine: Engine) -> None:
        self.endpoint = endpoint
        self.engine = engine
        self.in_flight = InFlight()
        self.table: RouteTable | None = None


def engine_body(request: ChatRequest | CompletionRequest, target: Target) -> bytes:
    """The request as the engine gets it: its own model name, and for conversations the version's prompt template."""
    body: dict[str, Any] = request.model_dump(exclude_unset=True)
    body["model"] = target.engine_name
    if isinstance(request, ChatRequest):
        prompt = target.prompt
        body["messages"] = prompt.apply(body["messages"])
        if prompt.stop:
            own = request.stop or []
            body["stop"] = list(dict.fromkeys([*([own] if isinstance(own, str) else own), *prompt.stop]))
        if prompt.chat_template is not None:
            body["chat_template"] = prompt.chat_template
    return json.dumps(body).encode()


class Answer(Response):
    """The answer of one version. It is routed when it is sent, so that routing it and counting it are one step."""

    def __init__(
        self, live: Live, request: ChatRequest | CompletionRequest, path: str, pin: str | None, record: Record
    ) -> None:
        self._live = live
        self._request = request
        self._path = path
        self._pin = pin
        self._record = record
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask the engine and send what it says.

        Raises:
            ApiError: nobody can answer; nothing has been sent yet.
        """
        table = self._live.table
        if table is None:
            raise unavailable("No release has been applied yet.", "no_release")
        if not self._live.engine.ready:
            raise unavailable(f"The engine is {self._live.engine.state}.", "engine_unavailable")
        target = table.pinned(self._pin) if self._pin is not None else table.choose()
        self._record.version = target.version
        with self._live.in_flight.on(target.engine_name):
            exchange = asyncio.ensure_future(self._exchange(target, send))
            gone = asyncio.ensure_future(_client_gone(receive))
            try:
                await asyncio.wait({exchange, gone}, return_when=asyncio.FIRST_COMPLETED)
                if exchange.done():
                    exchange.result()
            finally:
                for task in (exchange, gone):
                    task.cancel()
                await asyncio.gather(exchange, gone, return_exceptions=True)

    async def _exchange(self, target: Target, send: Send) -> None:
        engine = self._live.engine
        process = engine.process
        if process is None:
            raise unavailable("The engine is not running.", "engine_unavailable")
        headers = {
            "content-type": "application/json",
            "accept-encoding": "identity",
            "x-request-id": self._record.request_id,
        }
        begun = False
        try:
            async with process.session.post(
                self._path, data=engine_body(self._request, target), headers=headers
            ) as upstream:
                if upstream.status < 500:
                    engine.last_answer = time.monotonic()
                if upstream.status != 200:
                    raise _translated(upstream.status, await upstream.text(), target, self._live.endpoint)
                if not self._request.stream:
                    body = self._renamed(target, await upstream.read())
                    begun = True
                    await send(_start(target, b"application/json", len(body)))
                    await send({"type": "http.response.body", "body": body})
                    return
                self._record.streamed = begun = True
                await send(_start(target, b"text/event-stream; charset=utf-8", None))
                await self._stream(target, upstream, send)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            logger.warning("request %s: the engine broke off: %r", self._record.request_id, error)
            engine.suspect()
            broke_off = unavailable(
                "The engine ended while it was answering; it is being started again.", "engine_unavailable"
            )
            if not begun:
                raise broke_off from error
            if not self._request.stream:
                raise
            event = b"data: " + json.dumps(broke_off.body()).encode() + _EVENT_END
            await send({"type": "http.response.body", "body": event})

    async def _stream(self, target: Target, upstream: aiohttp.ClientResponse, send: Send) -> None:
        pending = b""
        async for piece in upstream.content.iter_any():
            pending += piece
            whole = pending.rfind(_EVENT_END) + len(_EVENT_END)
            if whole >= len(_EVENT_END):
                self._live.engine.last_answer = time.monotonic()
                body = self._renamed(target, pending[:whole])
                pending = pending[whole:]
                await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": self._renamed(target, pending)})

    def _renamed(self, target: Target, data: bytes) -> bytes:
        return target.model_field.sub(b'"model":"%s"' % self._live.endpoint.encode(), data)


def _start(target: Target, content_type: bytes, length: int | None) -> dict[str, Any]:
    headers = [(b"content-type", content_type), (b"x-tuneline-version", target.version.encode("latin-1", "replace"))]
    headers.append((b"cache-control", b"no-cache") if length is None else (b"content-length", str(length).encode()))
    return {"type": "http.response.start", "status": 200, "headers": headers}


async def _client_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


def _translated(status: int, text: str, target: Target, endpoint: str) -> ApiError:
    """The engine's refusal as the gateway's: a bad request is the client's, anything else is worth another try."""
    message, param = text[:1000], None
    with contextlib.suppress(ValueError, KeyError, TypeError):
        error = json.loads(text)["error"]
        message, param = str(error["message"]), error.get("param")
    message = message.replace(target.engine_name, endpoint)
    if status in (400, 413, 422):
        return ApiError(400, message, code="engine_refused", param=param)
    logger.error("the engine answered %d: %s", status, message)
    return unavailable(f"The engine could not answer: {message}", "engine_unavailable")
