"""BentoML's own way to put vLLM behind a service: ``__command__`` and its reverse proxy, as BentoVLLM does it.

At its best: one worker, no access log, no tracing, and the engine's Unix socket in the place of a TCP port (the proxy
takes the service's ``client``). The engine is the one that the gateway is measured with, so the command only waits.

    TUNELINE_BENCHMARK_ENGINE=FILE bentoml serve benchmarks.peers.bento_command:Proxied
"""

from __future__ import annotations

import json
import os
from functools import cached_property
from pathlib import Path

import aiohttp
import bentoml

from benchmarks.peers.known_engine import WHERE


@bentoml.service(
    workers=1,
    traffic={"timeout": 24 * 3600},
    endpoints={"livez": "/health"},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
)
class Proxied:
    """BentoML's reverse proxy in front of a vLLM that runs already."""

    def __command__(self) -> list[str]:
        return ["sleep", "infinity"]

    @cached_property
    def client(self) -> aiohttp.ClientSession:
        """What the proxy asks the engine with; made when the proxy's event loop runs."""
        socket = json.loads(Path(os.environ[WHERE]).read_text())["socket"]
        return aiohttp.ClientSession(
            "http://engine", connector=aiohttp.UnixConnector(path=socket, limit=512), timeout=aiohttp.ClientTimeout()
        )
