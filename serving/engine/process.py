"""One run of the engine: its process tree, its private socket, and the calls the gateway makes to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from serving.engine.command import BASE_MODEL, SOCKET
from serving.engine.tree import end_strays
from tuneline.errors import TunelineError

# The longest path that fits into sockaddr_un, less the names vLLM appends (ipc sockets are named by a UUID).
_LONGEST_FOLDER = 107 - 40
_TAIL_BYTES = 4000


LOG_TAIL = "; the engine's log "  # what follows it in an error is not for everybody


class EngineError(TunelineError):
    """The engine did not start, ended, or refused what it was told."""


class EngineProcess:
    """A running engine that nobody but this process can reach.

    Its socket lies in a folder only this user can enter, it asks for a key made for this run, and its process tree
    ends when this process does (see ``serving.engine.tree``).
    """

    def __init__(
        self, process: asyncio.subprocess.Process, lifeline: socket.socket, folder: Path, api_key: str, log: Path
    ) -> None:
        self._process = process
        self._lifeline = lifeline
        self._folder = folder
        self._log = log
        self._log_start = log.stat().st_size if log.exists() else 0
        self._gone = False
        self.pid: int | None = None
        connector = aiohttp.UnixConnector(path=str(folder / SOCKET), limit=0, keepalive_timeout=60)
        self.session = aiohttp.ClientSession(
            "http://engine",
            connector=connector,
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
            read_bufsize=2**18,
            auto_decompress=False,
        )

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        env: Mapping[str, str],
        folder: Path,
        api_key: str,
        log: Path,
        *,
        waits: bool = False,
    ) -> EngineProcess:
        """Start ``command`` in ``folder``; output is appended to ``log``. One that ``waits`` is told what to be later.

        Raises:
            EngineError: the command cannot be run.
        """
        ours, theirs = socket.socketpair()
        tree = Path(__file__).with_name("tree.py")
        with theirs, log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", str(tree), str(theirs.fileno()), str(folder), *command),
                cwd=folder,
                env=dict(env),
                stdin=subprocess.PIPE if waits else subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[theirs.fileno()],
            )
        ours.setblocking(False)
        engine = cls(process, ours, folder, api_key, log)
        told = await asyncio.get_running_loop().sock_recv(ours, 32)
        if not told:
            status = await process.wait()
            await engine.end()
            raise EngineError(f"the engine could not be run (status {status}){engine.log_tail()}")
        engine.pid = int(told)
        asyncio.get_running_loop().add_reader(ours, engine._on_gone)
        return engine

    @property
    def alive(self) -> bool:
        """Whether the engine's first process is still there."""
        return not self._gone and self._process.returncode is None

    def _on_gone(self) -> None:
        self._gone = True
        asyncio.get_running_loop().remove_reader(self._lifeline)

    async def tell(self, arguments: Sequence[str]) -> None:
        """Tell a process that waits with which arguments to become an engine.

        Raises:
            EngineError: it has ended.
        """
        assert self._process.stdin is not None, "it does not wait"
        self._log_start = self._log.stat().st_size
        try:
            self._process.stdin.write(json.dumps(list(arguments)).encode() + b"\n")
            await self._process.stdin.drain()
        except OSError as error:
            raise EngineError(f"the standby has ended{self.log_tail()}") from error

    async def ended(self) -> int:
        """Wait until the process tree is gone; its exit status."""
        return await self._process.wait()

    async def end(self) -> None:
        """End the process tree and wait until nothing of it is left."""
        self._gone = True
        asyncio.get_running_loop().remove_reader(self._lifeline)
        self._lifeline.close()
        await self._process.wait()
        await asyncio.to_thread(
            end_strays, self._folder
        )  # a guard that was killed itself could not end what it guarded
        await self.session.close()

    async def healthy(self) -> bool:
        """Whether the engine's server answers at all."""
        try:
            async with self.session.get("/health", timeout=aiohttp.ClientTimeout(total=5)) as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    async def generate_one_token(self, model: str = BASE_MODEL) -> None:
        """Prove that ``model`` generates.

        Raises:
            EngineError: it does not.
        """
        await self._post("/v1/completions", {"model": model, "prompt": "Hello", "max_tokens": 1, "temperature": 0})

    async def load_adapter(self, name: str, folder: Path) -> None:
        """Load the adapter in ``folder`` under ``name``; nothing happens when it is loaded already.

        Raises:
            EngineError: the engine refuses it; the message is the engine's.
        """
        try:
            await self._post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folder)})
        except EngineError as error:
            if "already been loaded" not in error.what:
                raise

    async def unload_adapter(self, name: str) -> None:
        """Unload ``name``; nothing happens when it is not loaded."""
        with contextlib.suppress(
            EngineError
        ):  # what is not there need not go; a dying engine forgets all of them anyway
            await self._post("/v1/unload_lora_adapter", {"lora_name": name})

    async def metrics(self) -> str:
        """The engine's Prometheus text; empty when it does not answer."""
        try:
            async with self.session.get("/metrics", timeout=aiohttp.ClientTimeout(total=5)) as response:
                return await response.text() if response.status == 200 else ""
        except (aiohttp.ClientError, TimeoutError, OSError):
            return ""

    def log_tail(self) -> str:
        """The last lines this run wrote, to be put after an error message."""
        with contextlib.suppress(FileNotFoundError), self._log.open("rb") as file:
            file.seek(max(self._log_start, self._log.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").strip().splitlines()
            return f"{LOG_TAIL}{self._log} ends with:\n" + "\n".join(lines[-20:])
        return f"{LOG_TAIL}{self._log} is empty"

    async def _post(self, path: str, body: dict[str, Any]) -> None:
        try:
            async with self.session.post(path, json=body) as response:
                text = await response.text()
                if response.status != 200:
                    raise EngineError(f"the engine answered {response.status} to {path}: {text[:1000]}")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise EngineError(f"the engine did not answer {path}: {error or type(error).__name__}") from error


def private_folder(workdir: Path) -> Path:
    """A new folder for one engine's sockets that only this user can enter. ``serving.engine.tree`` removes it."""
    parent = workdir.absolute() / "run"
    if len(str(parent)) + 10 > _LONGEST_FOLDER:
        parent = Path(tempfile.gettempdir())
        if len(str(parent)) + 20 > _LONGEST_FOLDER:
            parent = Path("/tmp")  # noqa: S108 - a folder of our own is made in it
        return Path(tempfile.mkdtemp(prefix="tuneline-", dir=parent))
    parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=parent, prefix="e-"))


def clear_private_folders(workdir: Path) -> None:
    """Remove what engines left behind that were killed together with their guard."""
    shutil.rmtree(workdir / "run", ignore_errors=True)


def new_api_key() -> str:
    """A key for one run of the engine."""
    return secrets.token_urlsafe(32)


def caches(workdir: Path) -> Path:
    """Where the engine keeps its caches."""
    folder = workdir.absolute() / "cache" / "engine"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
