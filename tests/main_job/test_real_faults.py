"""A real vLLM that stops moving in the middle of an answer: the client is told, and another engine takes over."""

from __future__ import annotations

import json
import signal
import time

import httpx
import psutil
import pytest

from benchmarks.endpoint import NAME, BenchEndpoint, bench_endpoint
from tuneline.release import GatewayArguments

pytestmark = pytest.mark.main_job

HANG_SECONDS = 3.0
# Of the hang's end, a busy machine's scheduling, and the gateway's own look at it.
TOLD_SECONDS = HANG_SECONDS + 12
BACK_SECONDS = 240.0
QUESTION = {"model": NAME, "prompt": "list the pods", "temperature": 0}


def readiness(endpoint: BenchEndpoint) -> dict[str, object]:
    found: dict[str, object] = httpx.get(f"{endpoint.url}/readyz", timeout=30).json()
    return found


def engine(endpoint: BenchEndpoint) -> list[psutil.Process]:
    """The engine's processes."""
    pid = httpx.get(f"{endpoint.url}/readyz", timeout=30).json()["engine"]["pid"]
    return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]


def running(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def test_a_stopped_engine_ends_its_stream_with_an_error_and_is_replaced_with_its_adapters() -> None:
    with bench_endpoint(["1"]) as endpoint:
        headers = {"authorization": f"Bearer {endpoint.key}"}
        endpoint.store.append(
            lambda sequence, current: current.model_copy(  # type: ignore[union-attr]
                update={"sequence": sequence, "gateway": GatewayArguments(hang_seconds=HANG_SECONDS)}
            )
        )
        until = time.monotonic() + 30
        while httpx.get(f"{endpoint.url}/release", headers=headers).json()["sequence"] != 2:
            assert time.monotonic() < until
            time.sleep(0.1)
        with httpx.Client(base_url=endpoint.url, headers=headers, timeout=60) as client:
            before = client.post("/v1/completions", json=QUESTION | {"max_tokens": 8}).json()["choices"]
            old = engine(endpoint)
            gateway = psutil.Process(old[0].pid).parents()
            body = QUESTION | {"stream": True, "max_tokens": 490, "ignore_eos": True}
            with client.stream("POST", "/v1/completions", json=body) as response:
                pieces = response.iter_text()
                next(pieces)
                for process in old:
                    process.send_signal(signal.SIGSTOP)
                stopped = time.monotonic()
                text = "".join(pieces)
            assert time.monotonic() - stopped < TOLD_SECONDS
            last = text.rstrip().rsplit("\n\n", 1)[-1]
            assert json.loads(last.removeprefix("data: "))["error"]["code"] == "engine_unavailable"
            until = time.monotonic() + BACK_SECONDS
            while not readiness(endpoint)["ready"]:
                assert time.monotonic() < until
                time.sleep(0.2)
            assert running(old) == []
            new = engine(endpoint)
            after = client.post("/v1/completions", json=QUESTION | {"max_tokens": 8})
            assert after.json()["choices"] == before
            assert after.headers["x-tuneline-version"] == "1"
        guards = [process for process in running(gateway) if {"serving", "serving.worker"} & set(process.cmdline())]
        assert len(guards) == 2
    assert running([*new, *guards]) == []
