"""Keeps one engine running: starts it, proves it, loads its adapters, notices when it dies or hangs, starts another."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, Literal

from serving.engine.command import (
    Device,
    EngineSpec,
    engine_arguments,
    engine_environment,
    engine_program,
    installed_device,
)
from serving.engine.in_flight import InFlight
from serving.engine.process import EngineError, EngineProcess, caches, new_api_key, private_folder
from serving.engine.standby import Environment, Standby
from serving.metrics import Metrics
from serving.settings import Settings

logger = logging.getLogger(__name__)

State = Literal["stopped", "starting", "ready", "restarting", "not answering"]

_START_SECONDS = 1800.0  # a large model comes over the network first
_POLL_SECONDS = 0.05
_PROBE_SECONDS = 5.0  # an engine that has answered nobody for this long is asked for one token
_PAUSE_SECONDS = 0.5  # between one proof and the next
_SLOW_SECONDS = 15.0  # without an answer for this long it is not ready
_BACKOFF_SECONDS = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)


class EngineAway(EngineError):
    """The engine is being started again just now."""


class Engine:
    """The engine of an endpoint, whichever process that is just now.

    Attributes:
        state: what it is doing; requests are let through while it is ``ready``.
        starts: processes started so far, by the engines before it too.
        start_seconds: what the last start took; before the first, about what plain vLLM takes on two cores.
        hang_seconds: an engine that was asked and has sent nothing for this long is ended and started again.
        process: the current one.
        last_answer: when the engine last sent anything (``time.monotonic``); the proxy keeps it up to date.
        error: why it is not running.
        in_flight: the questions it is answering.
    """

    def __init__(self, settings: Settings, metrics: Metrics, before: Engine | None = None) -> None:
        self._settings = settings
        self._metrics = metrics
        self._device: Device | None = before._device if before is not None else None
        self._standby: Standby = (
            before._standby if before is not None else Standby(settings, engine_program(settings.engine_command))
        )
        self._adapters: dict[str, Path] = {}
        self._watch: asyncio.Task[None] | None = None
        self._suspected = asyncio.Event()
        self.spec: EngineSpec | None = None
        self.process: EngineProcess | None = None
        self.in_flight = InFlight()
        self.starts: int = before.starts if before is not None else 0
        self.start_seconds: float = before.start_seconds if before is not None else 30.0
        self.hang_seconds = 60.0
        self.last_answer = 0.0
        self.error: str | None = None
        self.state: State = "stopped"

    @property
    def device(self) -> Device:
        """What it runs on.

        Raises:
            UserError: vLLM is not installed.
        """
        if self._device is None:
            self._device = "cpu" if self._settings.engine_command else installed_device()
        return self._device

    @property
    def ready(self) -> bool:
        """Whether a request sent now would be answered."""
        return self.state == "ready" and self.process is not None and self.process.alive

    async def check(self) -> None:
        """Ask the engine's server whether it is well, so that ``ready`` is true now and not as of a second ago."""
        if self.ready and self.process is not None and not await self.process.healthy():
            self.suspect()

    def suspect(self) -> None:
        """Somebody was not answered: not ready until one token has been generated."""
        if self.state == "ready":
            self._set_state("not answering")
            self._suspected.set()

    @property
    def pid(self) -> int | None:
        """The engine's process id while there is one."""
        return self.process.pid if self.process is not None and self.process.alive else None

    async def start(self, spec: EngineSpec) -> None:
        """Start an engine for ``spec`` and keep it running from then on.

        Raises:
            EngineError: the first start failed, with the end of its log. It is not tried again.
            UserError: vLLM is missing or the arguments are wrong.
        """
        await self._stop()
        self.spec = spec
        self._set_state("starting")
        try:
            await self._run(spec)
        except BaseException:
            await self._stop()
            raise
        self._watch = asyncio.create_task(self._keep_running(spec), name="engine supervisor")

    async def stop(self, *, standby: bool = False) -> None:
        """End the engine and forget its adapters; its standby too when nothing comes after it."""
        if standby:
            await self._standby.end()
        await self._stop()

    def prepare(self) -> None:
        """Import vLLM while the release and its files are still being brought. Most bases are local files."""
        self._standby.prepare(self._environment(local=True), soon=True)

    async def _stop(self) -> None:
        self._set_state("stopped")
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
            self._watch = None
        await self._end()
        self._adapters = {}
        self.spec = None

    async def load(self, name: str, folder: Path) -> None:
        """Load an adapter and prove it with one token. It is loaded again whenever the engine is started again.

        Raises:
            EngineAway: the engine is not there.
            EngineError: it refuses the adapter, or does not survive it.
        """
        process = self._current()
        await process.load_adapter(name, folder)
        try:
            await process.generate_one_token(name)
        except EngineError:
            await process.unload_adapter(name)
            raise
        self._adapters[name] = folder

    async def unload(self, name: str) -> None:
        """Unload an adapter. The caller sees to it that nobody is being answered by it."""
        self._adapters.pop(name, None)
        if self.ready:
            await self._current().unload_adapter(name)

    def loaded(self, name: str) -> bool:
        """Whether this adapter is in the engine, or will be once it is back."""
        return name in self._adapters

    async def metrics(self) -> str:
        """The engine's own metrics; empty while it is down."""
        return await self._current().metrics() if self.ready else ""

    def _current(self) -> EngineProcess:
        if self.process is None or not self.ready:
            raise EngineAway(f"the engine is {self.state}")
        return self.process

    async def _run(self, spec: EngineSpec) -> None:
        """One start: process, server, proof, adapters."""
        began = time.monotonic()
        arguments = engine_arguments(spec, self.device)
        environment = self._environment(spec.local)
        self.starts += 1
        self._metrics.engine_starts.labels(self._settings.endpoint).inc()
        process = await self._standby.take(environment, arguments)
        if process is None:
            folder, api_key = private_folder(self._settings.workdir), new_api_key()
            command = [*engine_program(self._settings.engine_command), *arguments]
            log = self._settings.workdir / "engine.log"
            process = await EngineProcess.start(command, environment(folder, api_key), folder, api_key, log)
        self.process = process
        await self._or_its_end(process, self._until_healthy(process))
        await self._or_its_end(process, process.generate_one_token())
        for name, path in list(self._adapters.items()):
            await process.load_adapter(name, path)
            await process.generate_one_token(name)
        self.last_answer = time.monotonic()
        self._set_state("ready")
        self.start_seconds = self.last_answer - began
        self._metrics.engine_start_seconds.set(self.start_seconds)
        logger.info("engine %s ready after %.1f s (start %d)", process.pid, self.start_seconds, self.starts)
        self._standby.prepare(environment)

    def _environment(self, local: bool) -> Environment:
        def of(folder: Path, api_key: str) -> dict[str, str]:
            cache = caches(self._settings.workdir)
            return engine_environment(local, self.device, folder=folder, cache=cache, api_key=api_key)

        return of

    async def _until_healthy(self, process: EngineProcess) -> None:
        while not await process.healthy():
            await asyncio.sleep(_POLL_SECONDS)

    async def _or_its_end(self, process: EngineProcess, step: Awaitable[None]) -> None:
        """Await one step of the start, unless the engine ends first or it takes too long."""
        doing = asyncio.ensure_future(step)
        ended = asyncio.ensure_future(process.ended())
        try:
            await asyncio.wait({doing, ended}, timeout=_START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                raise EngineError(
                    f"the engine ended with status {ended.result()} before it was ready{process.log_tail()}"
                )
            if not doing.done():
                raise EngineError(f"the engine was not ready after {_START_SECONDS:.0f} s{process.log_tail()}")
            await doing
        finally:
            doing.cancel()
            ended.cancel()

    async def _keep_running(self, spec: EngineSpec) -> None:
        """Watch the engine; start it again whenever it is gone, later after each failure."""
        failures = 0
        while True:
            if self.state != "restarting" and self.process is not None:
                reason = await self._until_broken(self.process)
                self.error = reason
                logger.error("%s; starting it again", reason)
                failures = 0
            self._set_state("restarting")
            await self._end()
            await asyncio.sleep(_BACKOFF_SECONDS[min(failures, len(_BACKOFF_SECONDS) - 1)])
            try:
                await self._run(spec)
                self.error = None
            except EngineError as error:
                failures += 1
                self.error = error.what
                logger.error("engine start %d failed: %s", self.starts, error.what)

    async def _until_broken(self, process: EngineProcess) -> str:
        """Return once the engine has died, or has sent nothing for too long although it was asked; why."""
        ended = asyncio.ensure_future(process.ended())
        probe: asyncio.Future[None] | None = None
        asked = failed = 0.0
        suspected = asyncio.ensure_future(self._suspected.wait())
        try:
            while True:
                waiting: set[asyncio.Future[Any]] = {ended, suspected} if probe is None else {ended, suspected, probe}
                await asyncio.wait(
                    waiting, timeout=min(1.0, self.hang_seconds / 4), return_when=asyncio.FIRST_COMPLETED
                )
                now = time.monotonic()
                if suspected.done():
                    self._suspected.clear()
                    suspected = asyncio.ensure_future(self._suspected.wait())
                    failed = failed or now
                if ended.done():
                    return f"the engine ended with status {ended.result()}"
                if probe is not None and probe.done():
                    broken = probe.exception()
                    probe = None
                    if broken is None:
                        self.last_answer, failed = now, 0.0
                    else:
                        failed = failed or now
                        if now - failed > _PROBE_SECONDS:
                            return f"the engine no longer generates: {broken}"
                silent = now - self.last_answer
                if probe is not None and min(silent, now - asked) > self.hang_seconds:
                    self._metrics.engine_hangs.labels(self._settings.endpoint).inc()
                    return f"the engine has answered nothing for {silent:.0f} s"
                quiet = min(_PROBE_SECONDS, self.hang_seconds / 2)
                slow = min(_PROBE_SECONDS + _SLOW_SECONDS, self.hang_seconds)
                self._set_state("not answering" if failed or silent > slow else "ready")
                if probe is None and (failed or silent > quiet) and now - asked > _PAUSE_SECONDS:
                    probe, asked = asyncio.ensure_future(process.generate_one_token()), now
        finally:
            for task in (ended, suspected, probe):
                if task is not None:
                    task.cancel()

    async def _end(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            await process.end()

    def _set_state(self, state: State) -> None:
        self.state = state
