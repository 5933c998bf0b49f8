"""Clients in numbers, and clients that misbehave: the others are answered as if they were alone."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import psutil
import pytest

from tests.serving.conftest import QUESTION, Running, key, wait_until

SLOW = 1_000
IDLE = 2_000
VANISHING = 300
QUICK_SECONDS = 2.0  # an answer takes 0.02 s alone; two busy cores are shared with a thousand clients here

BODY = json.dumps(QUESTION).encode()
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\n" % key("all").encode()
WHOLE = HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
STREAM_BODY = json.dumps(QUESTION | {"stream": True}).encode()
STREAM = HEAD + b"content-length: %d\r\n\r\n" % len(STREAM_BODY) + STREAM_BODY

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def gateway_of(endpoint: Running) -> psutil.Process:
    return next(process for process in endpoint.tree() if "serving.worker" in process.cmdline())


def client_connections(endpoint: Running) -> int:
    """Connections that the gateway holds."""
    return sum(c.status == psutil.CONN_ESTABLISHED for c in gateway_of(endpoint).net_connections("tcp"))


def metric(endpoint: Running, name: str) -> float:
    """The sum of a metric over its labels."""
    found = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", endpoint.get("/metrics").text, re.MULTILINE)
    return sum(float(value) for value in found)


@pytest.fixture
def crowded(served: Running) -> Iterator[Running]:
    """The endpoint before a crowd; after it nothing is held for anybody, and nothing failed."""
    gateway = gateway_of(served)
    files = gateway.num_fds()
    yield served
    wait_until(lambda: client_connections(served) == 0, "the connections to be closed")
    wait_until(lambda: metric(served, "tuneline_running_requests") == 0, "every place to be given back")
    wait_until(lambda: gateway.num_fds() <= files + 10, f"open files, {files} before, to be closed again", 90)
    assert served.ask().status_code == 200
    assert 'status="500"' not in served.get("/metrics").text
    assert served.get("/release").json()["engine"]["starts"] == 1


@asynccontextmanager
async def crowd(url: str, number: int) -> Any:
    """So many connections; they are closed with the block."""
    address = httpx.URL(url)
    connections: list[Stream] = []
    try:
        for begin in range(0, number, 250):
            opening = (
                asyncio.open_connection(address.host, address.port) for _ in range(begin, min(begin + 250, number))
            )
            connections += await asyncio.gather(*opening)
        yield connections
    finally:
        for _, writer in connections:
            writer.close()


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body of one whole answer."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
    length = re.search(rb"content-length: (\d+)", head)
    assert length, head
    return int(head.split()[1]), await reader.readexactly(int(length[1]))


async def ask(url: str) -> float:
    """One question on a connection of its own; the seconds it took."""
    began = time.monotonic()
    async with crowd(url, 1) as [(reader, writer)]:
        writer.write(WHOLE)
        status, _ = await answer(reader)
        assert status == 200
    return time.monotonic() - began


def test_a_thousand_clients_at_a_byte_a_second_keep_nobody_waiting(crowded: Running) -> None:
    async def run() -> tuple[list[float], list[int]]:
        async with crowd(crowded.url, SLOW) as slow:
            refusals = [asyncio.create_task(answer(reader)) for reader, _ in slow[1::2]]
            # half of them are slow with the head, half with the body
            for number, (_, writer) in enumerate(slow):
                writer.write(HEAD[:20] if number % 2 else HEAD + b"content-length: %d\r\n\r\n" % len(BODY))

            async def drip() -> None:
                for at in range(12):
                    await asyncio.sleep(1)
                    for number, (reader, writer) in enumerate(slow):
                        if not reader.at_eof():
                            writer.write(HEAD[20 + at : 21 + at] if number % 2 else BODY[at : at + 1])

            dripping = asyncio.create_task(drip())
            seconds = []
            while not dripping.done():
                seconds.append(await ask(crowded.url))
                await asyncio.sleep(0.05)
            await dripping
            refused = await asyncio.gather(*refusals)
            assert {json.loads(body)["error"]["code"] for _, body in refused} == {"head_too_slow"}
            return seconds, [status for status, _ in refused]

    seconds, refused = asyncio.run(run())
    assert len(seconds) > 20
    assert max(seconds) < QUICK_SECONDS
    assert refused == [408] * (SLOW // 2)


def test_two_thousand_connections_opened_at_once_and_idle_are_all_answered_when_they_ask(crowded: Running) -> None:
    async def run() -> tuple[float, list[int]]:
        async with crowd(crowded.url, IDLE) as idle:
            quick = await ask(crowded.url)
            await asyncio.sleep(1)
            for _, writer in idle:
                writer.write(
                    b"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %s\r\n\r\n" % key("all").encode()
                )
            return quick, [status for status, _ in await asyncio.gather(*(answer(reader) for reader, _ in idle))]

    quick, statuses = asyncio.run(run())
    assert quick < QUICK_SECONDS
    assert statuses == [200] * IDLE


def test_a_head_without_end_is_refused(crowded: Running) -> None:
    async def run() -> tuple[int, bytes]:
        async with crowd(crowded.url, 1) as [(reader, writer)]:
            refusal = asyncio.create_task(answer(reader))
            writer.write(b"GET /livez HTTP/1.1\r\nhost: x\r\n")
            sent = 0
            while not refusal.done():
                sent += 1
                writer.write(b"x-%d: " % sent + b"y" * 100 + b"\r\n")
                await asyncio.sleep(0.001)
            assert sent < 2_000  # of a hundred bytes: over 64 KiB, and not much
            return await refusal

    status, body = asyncio.run(run())
    assert status == 431
    assert json.loads(body)["error"]["code"] == "head_too_large"


async def _mid_head(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD)


async def _mid_body(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(WHOLE[:-10])


async def _unanswered(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(WHOLE)


async def _mid_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(STREAM)
    assert b" 200 " in await reader.readuntil(b"data: ")


@pytest.mark.parametrize(
    "until", [_mid_head, _mid_body, _unanswered, _mid_stream], ids=lambda until: until.__name__.strip("_")
)
@pytest.mark.parametrize("abort", [False, True], ids=["closed", "reset"])
def test_clients_that_vanish_are_forgotten_and_their_answers_are_not_generated(
    crowded: Running, until: Callable[..., Coroutine[Any, Any, None]], abort: bool
) -> None:
    crowded.tell("tokens", "3000")  # 6 s of generating, if nobody stops it
    cancelled = _cancelled(crowded)

    async def run() -> None:
        async with crowd(crowded.url, VANISHING // 4) as clients:
            await asyncio.gather(*(until(reader, writer) for reader, writer in clients))
            await asyncio.sleep(0.2)
            for _, writer in clients if abort else ():
                writer.transport.abort()

    try:
        asyncio.run(run())
        wait_until(lambda: metric(crowded, "tuneline_running_requests") == 0, "the places to be given back")
        wait_until(lambda: client_connections(crowded) == 0, "the connections to be closed", 5)
        if until is _mid_stream:
            wait_until(lambda: _cancelled(crowded) - cancelled == VANISHING // 4, "the engine to be told of each")
    finally:
        crowded.untell("tokens")


def test_clients_that_left_before_their_answer_do_not_hold_up_the_end(endpoint: Running) -> None:
    endpoint.release({"1": "one"}, "1")
    endpoint.start().ready()
    endpoint.tell("tokens", "3000")

    async def run() -> None:
        async with crowd(endpoint.url, 40) as clients:
            for number, (_, writer) in enumerate(clients):
                writer.write(WHOLE if number % 2 else WHOLE[:-10])
            await asyncio.sleep(0.5)

    asyncio.run(run())
    assert endpoint.process is not None
    began = time.monotonic()
    endpoint.process.send_signal(signal.SIGTERM)
    assert endpoint.process.wait(60) == 0
    assert time.monotonic() - began < 8  # of the ten seconds that answers under way get


def _cancelled(endpoint: Running) -> int:
    return sum("cancelled" in seen for seen in endpoint.engine_saw())
