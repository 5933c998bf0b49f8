"""The answer to one question: a place in the engine, a version, the exchange, and an end when the client leaves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.engine.supervisor import Engine
from serving.gateway.admission import Ticket
from serving.gateway.cache import ResponseCache
from serving.gateway.errors import ApiError, unavailable
from serving.gateway.exchange import JSON, STREAM, engine_body, exchange
from serving.gateway.observe import Record
from serving.gateway.outcome import CLIENT_GONE, Observer, Outcome, Question
from serving.gateway.prompt_log import PromptLog
from serving.gateway.routing import RouteTable
from tuneline.release import Release


class Live:
    """What the gateway answers from just now.

    Attributes:
        engine: the engine that has the table's adapters. Table and engine are replaced together, without a pause.
        trial: the engine of the table's trial; None without one.
        replacing: seconds until another engine will be there, while there is none because it is being replaced.
        cache: answers that were given before.
        prompt_log: where a share of the conversations is written.
        observers: called with every question that reached a version, once it is over.
        ended: the release whose canary this gateway has ended; applied again, its challenger still gets nobody.
        beside: called with every question and its outcome just before the engine is asked; shadows begin here.
    """

    def __init__(self, endpoint: str, engine: Engine, cache: ResponseCache, prompt_log: PromptLog) -> None:
        self.endpoint = endpoint
        self.engine = engine
        self.trial: Engine | None = None
        self.replacing: float | None = None
        self.cache = cache
        self.prompt_log = prompt_log
        self.ended: Release | None = None
        self.observers: list[Observer] = [prompt_log.add]
        self.beside: list[Callable[[Question, Outcome, RouteTable, Engine], None]] = []
        self._table: RouteTable | None = None

    @property
    def table(self) -> RouteTable | None:
        """The applied release; the reconciler replaces it."""
        return self._table

    @table.setter
    def table(self, table: RouteTable | None) -> None:
        self._table = table
        self.cache.follow(table)
        self.prompt_log.follow(table)

    def apply(self, release: Release, engine: Engine, trial: Engine | None = None) -> RouteTable:
        """Answer from a release whose adapters ``engine`` has, from the next question on; its trial in ``trial``."""
        table = RouteTable.of(release)
        table = table.without_challenger() if release == self.ended else table
        self.table, self.engine, self.trial = table, engine, trial  # together: who asks sees all or nothing
        return table


class ToClient:
    """Sends an answer to the client, with the version that gave it.

    Args:
        send: what takes it.
        version: the version.
        record: the request's.
        cache: ``hit`` or ``miss`` where the answer may come from the cache.
    """

    def __init__(self, send: Send, version: str, record: Record, cache: str | None = None) -> None:
        self._send = send
        self._version = version
        self._record = record
        self._cache = [(b"x-tuneline-cache", cache.encode())] if cache is not None else []

    async def begin(self, content_type: bytes, length: int | None) -> None:
        """Send the head."""
        self._record.streamed = length is None
        headers = [(b"content-type", content_type), (b"x-tuneline-version", self._version.encode("latin-1", "replace"))]
        headers += self._cache
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
        record.question = question
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
            if await self._from_cache(ticket, send):
                return
            await ticket.place()
            live, question = self._live, self._question
            table, engine = live.table, live.engine
            if live.replacing is not None:
                said = "The engine is being replaced for another release."
                raise ApiError(503, said, code="engine_replacing", retry_after=max(1, round(live.replacing)))
            if table is None:
                raise unavailable("No release has been applied yet.", "no_release")
            if not engine.ready:
                raise unavailable(f"The engine is {engine.state}.", "engine_unavailable")
            target, role = table.route(question)
            on_trial = target is table.trial
            if on_trial:
                if live.trial is None or not live.trial.ready:
                    raise unavailable("The engine of the version on trial is not ready.", "engine_unavailable")
                engine = live.trial
            self._record.version = target.version
            outcome = Outcome(target.version, role, streamed=bool(question.request.stream))
            ticket.outcome = self._record.outcome = outcome
            body = engine_body(question, target)
            slot = None if on_trial else live.cache.slot(question, target, body)  # it knows production's engine alone
            outcome.keep = slot is not None or live.prompt_log.takes(question)
            try:
                for begin in live.beside:
                    begin(question, outcome, table, engine)
                with engine.in_flight.on(target.engine_name):
                    sink = ToClient(send, target.version, self._record, "miss" if slot is not None else None)
                    await exchange(engine, question, target, live.endpoint, body, outcome, sink)
                if slot is not None:
                    live.cache.put(slot, outcome)
            except asyncio.CancelledError:
                outcome.status = CLIENT_GONE
                raise
            finally:
                for observe in live.observers:
                    observe(question, outcome)

    async def _from_cache(self, ticket: Ticket, send: Send) -> bool:
        """Give the answer that was given before, if there is one; that takes no place in the engine."""
        live, question = self._live, self._question
        if live.table is None or not live.cache.takes(question):
            return False
        target, role = live.table.route(question)
        if target is live.table.trial:
            return False
        slot = live.cache.slot(question, target, engine_body(question, target))
        kept = live.cache.get(slot, target.version) if slot is not None else None
        if kept is None:
            return False
        self._record.version = target.version
        streamed = bool(question.request.stream)
        outcome = kept.outcome(target.version, role, streamed=streamed, keep=live.prompt_log.takes(question))
        ticket.outcome = self._record.outcome = outcome
        sink = ToClient(send, target.version, self._record, "hit")
        await sink.begin(STREAM if streamed else JSON, None if streamed else len(kept.body))
        await sink.piece(kept.body, last=True)
        outcome.seconds = time.perf_counter() - outcome.asked
        for observe in live.observers:
            observe(question, outcome)
        return True


async def _client_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
