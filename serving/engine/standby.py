"""A process that has imported vLLM and waits for its arguments, so that an engine that ended is back in seconds.

Most of an engine's start on CPU is imports, which depend on nothing that a release says. A standby has done them. It
has its own folder and its own key from the beginning, like any engine, and it holds memory: about 0.7 GB.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from serving.engine.memory import room_for_standby
from serving.engine.process import EngineError, EngineProcess, new_api_key, private_folder
from serving.settings import Settings
from tuneline.errors import TunelineError

logger = logging.getLogger(__name__)

_SETTLE_SECONDS = 5.0  # after a start the machine has better things to do

_NICE = 10  # a tenth of the claim to a core that an answer has

Environment = Callable[[Path, str], dict[str, str]]


@dataclass(frozen=True)
class _Waiting:
    process: EngineProcess
    environment: Environment
    folder: Path
    api_key: str


class Standby:
    """The standby of one endpoint; nothing at all where it is turned off or memory is short."""

    def __init__(self, settings: Settings, program: tuple[str, ...]) -> None:
        self._settings = settings
        self._program = program
        self._waiting: _Waiting | None = None
        self._preparing: asyncio.Task[None] | None = None
        self._starting = False

    def prepare(self, environment: Environment, *, soon: bool = False) -> None:
        """Have one ready some time from now, if there is none.

        Args:
            environment: makes an engine's environment of its folder and key.
            soon: it is about to be needed; otherwise the machine is left to others first, and while it imports.
        """
        if self._settings.standby and (self._preparing is None or self._preparing.done()):
            self._preparing = asyncio.create_task(self._prepare(environment, soon), name="standby")

    async def _prepare(self, environment: Environment, soon: bool) -> None:
        if not soon:
            await asyncio.sleep(_SETTLE_SECONDS)
        if self._waiting is not None and self._waiting.process.alive:
            return
        await self._discard()
        if not room_for_standby():
            logger.info("no standby: memory is short")
            return
        command = [*self._program, "--wait", "0" if soon else str(_NICE)]
        log = self._settings.workdir / "engine.log"
        self._starting = True
        try:
            folder, api_key = private_folder(self._settings.workdir), new_api_key()
            env = environment(folder, api_key)
            process = await EngineProcess.start(command, env, folder, api_key, log, waits=True)
        except TunelineError:
            logger.exception("no standby")
            return
        finally:
            self._starting = False
        self._waiting = _Waiting(process, environment, folder, api_key)

    async def take(self, environment: Environment, arguments: list[str]) -> EngineProcess | None:
        """Make an engine of the standby; None when there is none, or it was made for another kind of engine."""
        await self._cancel()
        waiting = self._waiting
        if waiting is None or not waiting.process.alive:
            return None
        if waiting.environment(waiting.folder, waiting.api_key) != environment(waiting.folder, waiting.api_key):
            await self._discard()
            return None
        self._waiting = None
        try:
            await waiting.process.tell(arguments)
        except EngineError:
            logger.exception("the standby could not take over")
            await waiting.process.end()
            return None
        logger.info("the standby %s takes over", waiting.process.pid)
        return waiting.process

    async def end(self) -> None:
        """End it for good."""
        await self._cancel()
        await self._discard()

    async def _cancel(self) -> None:
        """Stop preparing. One that is just being started is finished first: half a process could not be ended."""
        if self._preparing is not None:
            if not self._starting:
                self._preparing.cancel()
            await asyncio.gather(self._preparing, return_exceptions=True)
            self._preparing = None

    async def _discard(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            await waiting.process.end()
