"""How long a switch takes, and what clients notice of it, while they go on asking.

    python -m benchmarks.release --json release.json

Two parts, each on a real engine. First, from "release written" to "first answer of the new version". Every release
holds one adapter alone, so each switch fetches, checks and loads an adapter that is not in the engine, and unloads the
one before. Then switches and rollbacks in quick succession under clients that stream: an answer other than 200, a
broken connection, an error within the stream and a stream without [DONE] all count as broken.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.endpoint import NAME, BenchEndpoint, bench_endpoint
from benchmarks.load import Client, Target, run
from benchmarks.report import print_rows, write_report

_MESSAGES = [{"role": "user", "content": "list the pods in namespace web"}]
_SHORT = {"messages": _MESSAGES, "max_tokens": 16, "temperature": 0}
_LONG = {"messages": _MESSAGES, "max_tokens": 48, "temperature": 0, "ignore_eos": True}
_VERSIONS = ("1", "2", "3")
_TOUR = ("2", "1", "3", "1")  # every second one is a rollback
_PATIENCE_SECONDS = 30.0
_SETTLE_SECONDS = 0.3  # between an answer of the new version and the next release


@dataclass
class Crowd:
    """Clients that stream without pause, and what became of their questions.

    Attributes:
        answered: by version, when its last whole answer ended (``time.perf_counter``).
        versions: whole answers by version.
        seconds: of every whole answer.
        broken: why the others are none.
    """

    answered: dict[str, float] = field(default_factory=dict)
    versions: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    arrival: asyncio.Condition = field(default_factory=asyncio.Condition)
    stopping: bool = False

    async def ask_without_pause(self, target: Target, question: dict[str, Any]) -> None:
        """One client's life."""
        client = Client(target)
        while not self.stopping:
            answer = await client.ask(question)
            if answer.problem:
                self.broken.append(answer.problem)
                await asyncio.sleep(0.05)  # an endpoint that refuses does so thousands of times a second
            else:
                self.answered[answer.version] = answer.asked + answer.seconds
                self.versions[answer.version] += 1
                self.seconds.append(answer.seconds)
            async with self.arrival:
                self.arrival.notify_all()
        client.close()

    async def first_answer(self, version: str, since: float) -> float:
        """Wait for an answer of ``version`` that ended after ``since``; when it ended.

        Raises:
            TimeoutError: there was none.
        """
        async with self.arrival, asyncio.timeout(_PATIENCE_SECONDS):
            await self.arrival.wait_for(lambda: self.answered.get(version, 0.0) > since)
        return self.answered[version]


@asynccontextmanager
async def asking(endpoint: BenchEndpoint, clients: int, question: dict[str, Any]) -> AsyncIterator[Crowd]:
    """Clients that ask for as long as the block runs."""
    crowd = Crowd()
    target = Target("gateway", endpoint.key, NAME, url=endpoint.url)
    lives = [asyncio.create_task(crowd.ask_without_pause(target, question)) for _ in range(clients)]
    try:
        yield crowd
    finally:
        crowd.stopping = True
        await asyncio.gather(*lives)


async def switches(endpoint: BenchEndpoint, rounds: int, clients: int) -> dict[str, Any]:
    """Switch ``rounds`` times; from the release written to the end of the first answer of its version, seconds."""
    found = []
    async with asking(endpoint, clients, _SHORT) as crowd:
        await crowd.first_answer(_VERSIONS[0], 0.0)
        for number in range(1, rounds + 1):
            version = _VERSIONS[number % len(_VERSIONS)]
            await asyncio.to_thread(endpoint.give_traffic, version)
            written = time.perf_counter()
            found.append(await crowd.first_answer(version, written) - written)
            if number % 10 == 0:
                print(f"switch {number}/{rounds}: version {version} answers after {found[-1]:.3f} s", flush=True)
            await asyncio.sleep(_SETTLE_SECONDS)
    return {
        "rounds": rounds,
        "clients": clients,
        "switch_seconds": {"median": statistics.median(found), "worst": max(found), "all": found},
    } | _numbers(crowd)


async def storm(endpoint: BenchEndpoint, rounds: int, clients: int) -> dict[str, Any]:
    """Forth and back ``rounds`` times, the next time as soon as the version is seen to answer."""
    began = time.perf_counter()
    async with asking(endpoint, clients, _LONG) as crowd:
        for number in range(rounds):
            version = _TOUR[number % len(_TOUR)]
            await asyncio.to_thread(endpoint.give_traffic, version)
            await crowd.first_answer(version, time.perf_counter())
            if number % 20 == 19:
                print(
                    f"under streams {number}/{rounds}: {len(crowd.broken)} broken of {len(crowd.seconds)}", flush=True
                )
    return {"rounds": rounds, "clients": clients, "seconds": time.perf_counter() - began} | _numbers(crowd)


def _numbers(crowd: Crowd) -> dict[str, Any]:
    return {
        "answers": len(crowd.seconds),
        "answers_by_version": dict(crowd.versions),
        "answer_seconds_median": statistics.median(crowd.seconds),
        "broken": len(crowd.broken),
        "why_broken": crowd.broken[:5],
    }


def measure(rounds: int, clients: int, storms: int, streams: int) -> dict[str, Any]:
    """Both parts on one endpoint."""
    with bench_endpoint(_VERSIONS) as endpoint:

        async def both() -> dict[str, Any]:
            numbers = {"switches": await switches(endpoint, rounds, clients)}
            endpoint.give_traffic(_VERSIONS[0])
            return numbers | {"storm": await storm(endpoint, storms, streams)}

        numbers: dict[str, Any] = run(both)
    return numbers | {"rows": rows(numbers)}


def rows(numbers: dict[str, Any]) -> list[dict[str, Any]]:
    """What is promised, beside what was measured."""
    seconds = numbers["switches"]["switch_seconds"]
    promised = (
        ("release written to the new version's first answer, median s", seconds["median"], 0.5),
        ("the same, worst, s", seconds["worst"], 1.0),
        ("answers refused or broken meanwhile", numbers["switches"]["broken"], 0),
        ("streams refused or broken under switches and rollbacks", numbers["storm"]["broken"], 0),
    )
    return [{"what": what, "found": found, "goal": goal, "reached": found <= goal} for what, found, goal in promised]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.release", description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, help="where the numbers are written")
    parser.add_argument("--rounds", type=int, default=100, help="switches that are timed (default %(default)s)")
    parser.add_argument("--clients", type=int, default=4, help="clients meanwhile (default %(default)s)")
    parser.add_argument("--storm", type=int, default=200, help="switches under streams (default %(default)s)")
    parser.add_argument("--streams", type=int, default=16, help="clients that stream then (default %(default)s)")
    options = parser.parse_args()
    numbers = measure(options.rounds, options.clients, options.storm, options.streams)
    write_report(options.json, "release", numbers)
    print_rows(numbers["rows"])


if __name__ == "__main__":
    main()
