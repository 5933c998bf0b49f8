"""How long a switch takes: from "release written" to "first answer of the new adapter", while clients go on asking.

    python -m benchmarks.release --json release.json

Every release holds one adapter alone, so each switch fetches, checks and loads an adapter that is not in the engine,
and unloads the one before. The clients never pause; an answer other than 200 counts as refused.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks.endpoint import NAME, BenchEndpoint, bench_endpoint
from benchmarks.report import write_report

_QUESTION = {
    "model": NAME,
    "messages": [{"role": "user", "content": "list the pods in namespace web"}],
    "max_tokens": 16,
    "temperature": 0,
}
_VERSIONS = ("1", "2", "3")
_PATIENCE_SECONDS = 30.0


@dataclass
class Clients:
    """Clients that ask without pause, and what became of their questions.

    Attributes:
        answered: by version, when its last answer arrived (``time.perf_counter``).
        seconds: of every answer.
        refused: what was answered instead of 200.
    """

    endpoint: BenchEndpoint
    answered: dict[str, float] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    arrival: threading.Condition = field(default_factory=threading.Condition)
    stopping: threading.Event = field(default_factory=threading.Event)

    def ask_without_pause(self) -> None:
        """One client's life."""
        headers = {"authorization": f"Bearer {self.endpoint.key}"}
        with httpx.Client(base_url=self.endpoint.url, headers=headers, timeout=60) as client:
            while not self.stopping.is_set():
                asked = time.perf_counter()
                try:
                    response = client.post("/v1/chat/completions", json=_QUESTION)
                    problem = "" if response.status_code == 200 else f"{response.status_code} {response.text[:200]}"
                except httpx.TransportError as error:
                    problem = repr(error)
                with self.arrival:
                    now = time.perf_counter()
                    if problem:
                        self.refused.append(problem)
                    else:
                        self.answered[response.headers["x-tuneline-version"]] = now
                        self.seconds.append(now - asked)
                    self.arrival.notify_all()

    def first_answer(self, version: str, since: float) -> float:
        """Wait for an answer of ``version`` that arrived after ``since``; when it arrived.

        Raises:
            TimeoutError: there was none.
        """
        with self.arrival:
            if self.arrival.wait_for(lambda: self.answered.get(version, 0.0) > since, _PATIENCE_SECONDS):
                return self.answered[version]
        raise TimeoutError(f"version {version} gave no answer within {_PATIENCE_SECONDS:.0f} s; {self.refused[-1:]}")


@contextmanager
def asking(endpoint: BenchEndpoint, clients: int) -> Iterator[Clients]:
    """Clients that ask for as long as the block runs."""
    crowd = Clients(endpoint)
    threads = [threading.Thread(target=crowd.ask_without_pause) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield crowd
    finally:
        crowd.stopping.set()
        for thread in threads:
            thread.join()


def measure(rounds: int, clients: int) -> dict[str, Any]:
    """Switch ``rounds`` times with ``clients`` asking; times in seconds."""
    with bench_endpoint(_VERSIONS) as endpoint, asking(endpoint, clients) as crowd:
        crowd.first_answer(_VERSIONS[0], 0.0)
        time.sleep(2.0)
        switches = []
        for number in range(1, rounds + 1):
            version = _VERSIONS[number % len(_VERSIONS)]
            endpoint.give_traffic(version)
            written = time.perf_counter()
            switches.append(crowd.first_answer(version, written) - written)
            print(f"switch {number}/{rounds}: version {version} answers after {switches[-1]:.3f} s", flush=True)
            time.sleep(0.5)
    return {
        "rounds": rounds,
        "clients": clients,
        "switch_seconds": {"median": statistics.median(switches), "worst": max(switches), "all": switches},
        "answer_seconds_median": statistics.median(crowd.seconds),
        "answers": len(crowd.seconds),
        "refused": len(crowd.refused),
        "refusals": crowd.refused[:5],
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.release", description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, help="where the numbers are written")
    parser.add_argument("--rounds", type=int, default=10, help="switches (default %(default)s)")
    parser.add_argument("--clients", type=int, default=8, help="clients that ask throughout (default %(default)s)")
    options = parser.parse_args()
    numbers = measure(options.rounds, options.clients)
    write_report(options.json, "release", numbers)
    seconds = numbers["switch_seconds"]
    print(
        f"release written to first answer: median {seconds['median']:.3f} s, worst {seconds['worst']:.3f} s of "
        f"{options.rounds}; {numbers['answers']} answers to {options.clients} clients, {numbers['refused']} refused"
    )


if __name__ == "__main__":
    main()
