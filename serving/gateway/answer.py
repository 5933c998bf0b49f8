"""The answer to one question: a place in the engine, a version, the exchange, and an end when the client leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.engine.supervisor import Engine
from serving.gateway.admission import Ticket
from serving.gateway.errors import unavailable
from serving.gateway.exchange import engine_body, exchange
from serving.gateway.observe import Record
from serving.gateway.outcome import CLIENT_GONE, Observer, Outcome, Question
from serving.gateway.routing import RouteTable
from tuneline.release import Release


class Live:
    """What the gateway answers from just now.

    Attributes:
        engine: the engine that has the table's adapters. Table and engine are replaced together, without a pause.
        table: the applied release; the reconciler replaces it.
        observers: called with every question that reached a version, once it is over.
        ended: the release whose canary this gateway has ended; applied again, its challenger still gets nobody.
        beside: called with every question and its outcome just before the engine is asked; shadows begin here.
    """

    def __init__(self, endpoint: str, engine: Engine) -> None:
        self.endpoint = endpoint
        self.engine = engine
        self.table: RouteTable | None = None
        self.ended: Release | None = None
        self.observers: list[Observer] = []
        self.beside: list[Callable[[Question, Outcome, RouteTable, Engine], None]] = []

    def apply(self, release: Release) -> RouteTable:
        """Answer from a release whose adapters are loaded, from the next question on."""
        table = RouteTable.of(release)
        self.table = table.without_challenger() if release == self.ended else table
        return self.table


class ToClient:
    """Sends an answer to the client, with the version that gave it."""

    def __init__(self, send: Send, version: str, record: Record) -> None:
        self._send = send
        self._version = version
        self._record = record

    async def begin(self, content_type: bytes, length: int | None) -> None:
        """Send the head."""
        self._record.streamed = length is None
        headers = [(b"content-type", content_type), (b"x-tuneline-version", self._version.encode("latin-1", "replace"))]
        headers.append((b"cache-control", b"no-cache") if length is None else (b"content-length", str(length).encode()))
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def piece(self, data: bytes, *, last: bool) -> None:
        """Send a part of the body."""
        await self._send({"type": "http.response.body", "body": data, "more_body": not last})


class Answer(Response):
    """The answer of one version. It is routed when it is sent, so that routing it and counting it are one step."""

    def __init__(self, live: Live, question: Question, ticket: Ticket, record: Record) -> None:
        self._live = live
        self._question = question
        self._ticket = ticket
        self._record = record
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask the engine and send what it says.

        Raises:
            ApiError: nobody can answer; nothing has been sent yet.
        """
        answering = asyncio.ensure_future(self._answer(send))
        gone = asyncio.ensure_future(_client_gone(receive))
        try:
            await asyncio.wait({answering, gone}, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                answering.result()
        finally:
            for task in (answering, gone):
                task.cancel()
            await asyncio.gather(answering, gone, return_exceptions=True)

    async def _answer(self, send: Send) -> None:
        with self._ticket as ticket:
            await ticket.place()
            live, question = self._live, self._question
            table, engine = live.table, live.engine
            if table is None:
                raise unavailable("No release has been applied yet.", "no_release")
            if not engine.ready:
                raise unavailable(f"The engine is {engine.state}.", "engine_unavailable")
            target, role = table.route(question)
            self._record.version = target.version
            outcome = ticket.outcome = Outcome(target.version, role, streamed=bool(question.request.stream))
            body = engine_body(question, target)
            try:
                for begin in live.beside:
                    begin(question, outcome, table, engine)
                with engine.in_flight.on(target.engine_name):
                    sink = ToClient(send, target.version, self._record)
                    await exchange(engine, question, target, live.endpoint, body, outcome, sink)
            except asyncio.CancelledError:
                outcome.status = CLIENT_GONE
                raise
            finally:
                for observe in live.observers:
                    observe(question, outcome)


async def _client_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
