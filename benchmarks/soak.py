"""Whether memory and open files stay flat under mixed traffic: answers, streams, errors, clients that leave, switches.

    python -m benchmarks.soak --requests 20000 --json soak.json
    python -m benchmarks.soak --requests 5000 --engine vllm --json soak-vllm.json

A quarter of the requests is warm-up. What counts is the slope of a line through the samples after it, in MB and files
per 10,000 requests; a flat process has one near 0 whatever its size is.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from benchmarks.report import write_report

_CLIENTS = 8
_SAMPLE_SECONDS = 0.5
_SWITCH_SECONDS = 3.0
_WARM_UP = 0.25
_MIB = 2**20


@dataclass
class Soak:
    """An endpoint under traffic.

    Attributes:
        launcher: pid of the endpoint's first process.
        switch: writes the next release.
        samples: requests so far, then RSS in bytes and open files of launcher and gateway.
    """

    url: str
    key: str
    model: str
    launcher: int
    switch: Callable[[int], object]
    done: int = 0
    switches: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    samples: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, requests: int) -> None:
        """Send so many requests from several clients, with samples and switches beside them."""
        over = threading.Event()
        beside = [
            threading.Thread(target=self._sample, args=(over,)),
            threading.Thread(target=self._follow, args=(over,)),
        ]
        clients = [threading.Thread(target=self._client, args=(number, requests)) for number in range(_CLIENTS)]
        for thread in (*beside, *clients):
            thread.start()
        for thread in clients:
            thread.join()
        over.set()
        for thread in beside:
            thread.join()

    def slopes(self) -> dict[str, float]:
        """Growth after the warm-up: MB, or files, per 10,000 requests."""
        table = np.array([sample for sample in self.samples if sample[0] >= self.done * _WARM_UP], dtype=float)
        names = ("launcher_mb", "launcher_files", "gateway_mb", "gateway_files")
        fitted = [float(np.polyfit(table[:, 0], table[:, column], 1)[0]) * 10_000 for column in range(1, 5)]
        return {
            name: round(slope / (_MIB if name.endswith("mb") else 1), 3)
            for name, slope in zip(names, fitted, strict=True)
        }

    def _client(self, number: int, requests: int) -> None:
        seeded = random.Random(number)
        headers = {"authorization": f"Bearer {self.key}"}
        with httpx.Client(base_url=self.url, headers=headers, timeout=60) as client:
            while True:
                with self._lock:
                    if self.done >= requests:
                        return
                    self.done += 1
                    at = self.done
                try:
                    said = self._ask(client, seeded, at)
                except httpx.TransportError as error:
                    said = type(error).__name__
                with self._lock:
                    self.statuses[said] += 1

    def _ask(self, client: httpx.Client, seeded: random.Random, number: int) -> str:
        question: dict[str, Any] = {"model": self.model, "max_tokens": 8, "user": f"u{number % 500}"}
        question["messages"] = [{"role": "user", "content": f"question {number}"}]
        path = "/v1/chat/completions"
        match seeded.randrange(10):
            case 0:
                return str(client.post(path, json=question | {"no_such_field": number}).status_code)
            case 1:
                return str(client.get(f"/nowhere/{number}").status_code)
            case 2:
                return str(client.get(path, headers={"authorization": f"Bearer tl-{number}"}).status_code)
            case 3:
                rating = {"request_id": f"r{number}", "rating": "up"}
                return f"feedback {client.post('/v1/feedback', json=rating).status_code}"
            case 4:  # leaves after its first piece
                with client.stream("POST", path, json=question | {"stream": True, "max_tokens": 200}) as response:
                    next(response.iter_bytes(), b"")
                    return f"left {response.status_code}"
            case 5 | 6 | 7:
                with client.stream("POST", path, json=question | {"stream": True}) as response:
                    whole = response.read().endswith(b"data: [DONE]\n\n")
                    return f"stream {response.status_code}{'' if whole else ' broken'}"
            case _:
                return str(client.post(path, json=question).status_code)

    def _sample(self, over: threading.Event) -> None:
        launcher = psutil.Process(self.launcher)
        gateway = next(child for child in launcher.children() if "serving.worker" in child.cmdline())
        while not over.wait(_SAMPLE_SECONDS):
            sizes = [
                value for process in (launcher, gateway) for value in (process.memory_info().rss, process.num_fds())
            ]
            self.samples.append((self.done, *sizes))  # type: ignore[arg-type]

    def _follow(self, over: threading.Event) -> None:
        while not over.wait(_SWITCH_SECONDS):
            self.switches += 1
            self.switch(self.switches)


@contextmanager
def _target(engine: str) -> Iterator[Soak]:
    if engine == "vllm":
        from benchmarks.endpoint import NAME, bench_endpoint

        with bench_endpoint(["1", "2"]) as real:
            port = httpx.URL(real.url).port
            launcher = next(c.pid for c in psutil.net_connections("tcp") if c.laddr.port == port and _launches(c.pid))
            yield Soak(real.url, real.key, NAME, launcher, lambda number: real.give_traffic(str(number % 2 + 1)))
    else:
        from benchmarks.stub import stub_endpoint
        from tests.serving.conftest import key

        with stub_endpoint() as stubbed:
            stubbed.release({"0": "zero"}, "0")
            launched = stubbed.start().ready().process
            assert launched is not None
            yield Soak(
                *(stubbed.url, key("all"), "tiny", launched.pid),
                lambda number: stubbed.release({str(number % 5): f"a{number % 5}"}, str(number % 5)),
            )


def _launches(pid: int | None) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return pid is not None and "serving" in psutil.Process(pid).cmdline()
    return False


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, help="where the numbers are written")
    parser.add_argument("--requests", type=int, default=20_000, help="how many (default %(default)s)")
    parser.add_argument("--engine", choices=("stub", "vllm"), default="stub", help="(default %(default)s)")
    options = parser.parse_args()
    began = time.monotonic()
    with _target(options.engine) as soak:
        soak.run(options.requests)
    slopes = soak.slopes()
    numbers = {
        "engine": options.engine,
        "requests": soak.done,
        "seconds": round(time.monotonic() - began, 1),
        "switches": soak.switches,
        "statuses": dict(sorted(soak.statuses.items())),
        "per_10000_requests": slopes,
        "samples": soak.samples,
    }
    write_report(options.json, "soak", numbers)
    print(f"{soak.done} requests, {soak.switches} switches, growth per 10,000 requests: {json.dumps(slopes)}")


if __name__ == "__main__":
    main()
