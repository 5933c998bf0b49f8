"""An endpoint in front of the tests' stub engine, for benchmarks of the gateway alone; gone afterwards."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.serving.conftest import Running


@contextmanager
def stub_endpoint() -> Iterator[Running]:
    """An endpoint that has its keys and has not been started; it ends with the block."""
    root = Path(tempfile.mkdtemp(prefix="tls-"))  # short, for the socket below it
    endpoint = Running(root)
    endpoint.write_keys()
    try:
        yield endpoint
    finally:
        endpoint.stop()
        shutil.rmtree(root, ignore_errors=True)


def inside(endpoint: Running) -> tuple[str, ...]:
    """What no client may ever read: the engine's key, and where the endpoint works."""
    environment = psutil.Process(endpoint.engine_pid()).environ()
    return environment["VLLM_API_KEY"], str(endpoint.workdir)
