"""An endpoint in front of the tests' stub engine, for benchmarks of the gateway alone; gone afterwards."""

from __future__ import annotations

import psutil

from tests.serving.conftest import Running, stub_endpoint

__all__ = ["inside", "stub_endpoint"]


def inside(endpoint: Running) -> tuple[str, ...]:
    """What no client may ever read: the engine's key, and where the endpoint works."""
    environment = psutil.Process(endpoint.engine_pid()).environ()
    return environment["VLLM_API_KEY"], str(endpoint.workdir)
