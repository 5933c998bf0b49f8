"""The clients of a benchmark: one thread, HTTP/1.1 by hand on kept connections, because the cores are the engine's.

A client of httpx or aiohttp takes as much of a core as the gateway that is to be measured. This one reads no JSON and
no chunk sizes: it looks for the events' marks in what arrives, about 5 µs for each piece (``cpu_seconds`` has the sum).
All targets are asked by the same code.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import uvloop

_EVENT = b"data: "
_ERROR = b'data: {"error"'
_DONE = b"data: [DONE]\n\n"
_LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True)
class Target:
    """Who is asked.

    Attributes:
        name: what reports call it.
        key: sent as the bearer token.
        model: sent as ``model``.
        url: its address; not needed with ``socket``.
        socket: path of the Unix socket it listens on.
    """

    name: str
    key: str
    model: str
    url: str = "http://engine"
    socket: str | None = None


@dataclass
class Streamed:
    """What came of one streamed question.

    Attributes:
        asked: ``time.perf_counter``.
        first: seconds to the first event.
        seconds: to the end.
        problem: why it is no whole answer; empty if it is one.
        version: what ``x-tuneline-version`` says.
    """

    asked: float
    first: float = 0.0
    seconds: float = 0.0
    problem: str = ""
    version: str = ""


@dataclass
class Load:
    """What came of a number of questions.

    Attributes:
        answers: of each.
        seconds: from the first question to the end of the last answer.
        cpu_seconds: what asking them took of this thread.
    """

    answers: list[Streamed] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @property
    def problems(self) -> list[str]:
        """Of the answers that are not whole."""
        return [answer.problem for answer in self.answers if answer.problem]


class Client(asyncio.Protocol):
    """One kept connection, one question at a time."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._transport: Any = None
        self._over: asyncio.Future[None] | None = None
        self._answer = Streamed(0.0)
        self._tail = b""
        self._head = b""
        self._failed = ""

    async def ask(self, question: dict[str, Any], path: str = "/v1/chat/completions") -> Streamed:
        """Ask a question whose answer is streamed, and wait for its end; never raises for what a server does."""
        loop = asyncio.get_running_loop()
        body = json.dumps(question | {"model": self._target.model, "stream": True}).encode()
        request = (
            f"POST {path} HTTP/1.1\r\nhost: engine\r\nauthorization: Bearer {self._target.key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        ).encode() + body
        answer = self._answer = Streamed(time.perf_counter())
        self._tail = self._head = b""
        self._failed = ""
        self._over = loop.create_future()
        try:
            if self._transport is None or self._transport.is_closing():
                await self._connect(loop)
            self._transport.write(request)
            await self._over
        except OSError as error:
            answer.problem = repr(error)
        answer.seconds = time.perf_counter() - answer.asked
        return answer

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._target.socket is not None:
            self._transport, _ = await loop.create_unix_connection(lambda: self, self._target.socket)
        else:
            url = urlsplit(self._target.url)
            self._transport, _ = await loop.create_connection(lambda: self, url.hostname, url.port)

    def data_received(self, data: bytes) -> None:
        """A piece of an answer."""
        answer = self._answer
        if not self._head:
            self._tail += data
            end = self._tail.find(b"\r\n\r\n")
            if end < 0:
                return
            self._head, data, self._tail = self._tail[:end], self._tail[end + 4 :], b""
            answer.version = _header(self._head, b"x-tuneline-version")
        if not answer.first and _EVENT in data:
            answer.first = time.perf_counter() - answer.asked
        if _ERROR in data:
            self._failed = data[:300].decode(errors="replace")
        self._tail = (self._tail + data)[-64:]
        if b" 200 " not in self._head[:16]:
            self._end((self._head + data)[:300].decode(errors="replace"))
            self.close()
        elif self._tail.endswith(_LAST_CHUNK):
            self._end(self._failed or ("" if _DONE in self._tail else "the stream ended without [DONE]"))

    def connection_lost(self, error: Exception | None) -> None:
        """The server has gone."""
        self._end(f"the connection was lost: {error}")

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def _end(self, problem: str) -> None:
        if self._over is not None and not self._over.done():
            self._answer.problem = problem
            self._over.set_result(None)


def _header(head: bytes, name: bytes) -> str:
    for line in head.split(b"\r\n"):
        if line.lower().startswith(name + b":"):
            return line.partition(b":")[2].strip().decode()
    return ""


async def burst(target: Target, questions: Sequence[dict[str, Any]], clients: int) -> Load:
    """Ask all questions, ``clients`` at a time."""
    load = Load()
    left = iter(questions)
    cpu = time.thread_time()
    began = time.perf_counter()

    async def life() -> None:
        client = Client(target)
        for question in left:
            load.answers.append(await client.ask(question))
        client.close()

    await asyncio.gather(*(life() for _ in range(clients)))
    load.seconds, load.cpu_seconds = time.perf_counter() - began, time.thread_time() - cpu
    return load


def run(work: Callable[[], Awaitable[Any]]) -> Any:
    """Run it on the fastest event loop there is."""

    async def main() -> Any:
        return await work()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())
