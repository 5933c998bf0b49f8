"""Another engine for another release: beside the one that runs when memory allows, otherwise in its place."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from serving.engine.command import EngineSpec
from serving.engine.memory import room_beside
from serving.engine.supervisor import Engine
from serving.gateway.answer import Live
from serving.metrics import Metrics
from serving.settings import Settings
from tuneline.errors import TunelineError

logger = logging.getLogger(__name__)


async def load_all(engine: Engine, folders: dict[str, Path]) -> None:
    """Load and prove what is not loaded yet; all of it or nothing.

    Raises:
        EngineError: one of them is refused.
    """
    new: list[str] = []
    try:
        for name, folder in folders.items():
            if not engine.loaded(name):
                await engine.load(name, folder)
                new.append(name)
    except TunelineError:
        for name in new:
            await engine.unload(name)
        raise


class Replacement:
    """Starts the engines of one endpoint and ends those that are no longer asked.

    Attributes:
        now: an engine is being started for a release while another one is, or was, live.
        trial: the engine of a version that is proven beside production; it takes its place, or goes.
    """

    def __init__(self, settings: Settings, live: Live, metrics: Metrics) -> None:
        self._settings = settings
        self._live = live
        self._leaving: dict[Engine, asyncio.Task[None]] = {}
        self.now = False
        self.trial: Engine | None = None
        metrics.engine_replacing.follow(lambda: self.now)
        self._metrics = metrics

    async def engine_for(self, spec: EngineSpec, folders: dict[str, Path], old_folders: dict[str, Path]) -> Engine:
        """An engine for ``spec`` with all adapters proven. Who answers is not changed, unless nobody can meanwhile.

        Args:
            spec: the engine to start.
            folders: its adapters.
            old_folders: those of the engine that runs, to bring it back with.

        Raises:
            TunelineError: it does not run; what was live before is live again.
        """
        old = self._live.engine
        if self._live.table is None or old.spec is None:
            await old.start(spec)
            await load_all(old, folders)
            return old
        if self.trial is not None and self.trial.spec == spec:
            proven = self.trial
            await load_all(proven, folders)
            self.trial = None
            return proven
        await self.end_trial()
        await self.retired()  # of three engines at once, one would be too many
        self.now = True
        try:
            why = await asyncio.to_thread(room_beside, spec, old.spec, old.pid, old.device)
            if why is None:
                return await self._beside(spec, folders, old)
            return await self._in_place(spec, folders, old, old_folders, why)
        finally:
            self.now = False

    async def start_trial(self, spec: EngineSpec, folders: dict[str, Path]) -> bool:
        """See that the trial's engine runs beside production's, which goes on.

        Returns:
            Whether it does; False where memory is not enough for two.

        Raises:
            TunelineError: it does not start, or refuses the adapter.
        """
        old = self._live.engine
        assert old.spec is not None
        if self.trial is not None and self.trial.spec == spec:
            await load_all(self.trial, folders)
            return True
        await self.end_trial()
        await self.retired()
        self.now = True
        try:
            why = await asyncio.to_thread(room_beside, spec, old.spec, old.pid, old.device)
            if why is not None:
                logger.warning("there is no room for the trial's engine beside production's: %s", why)
                return False
            self.trial = await self._beside(spec, folders, old)
            return True
        finally:
            self.now = False

    async def end_trial(self) -> None:
        """End the trial's engine, if there is one. Nobody but its proof asks it."""
        trial, self.trial = self.trial, None
        if trial is not None:
            if self._live.trial is trial:
                self._live.trial = None
            await trial.stop()
            logger.info("the trial's engine is gone")

    async def _beside(self, spec: EngineSpec, folders: dict[str, Path], old: Engine) -> Engine:
        logger.info("another engine is started beside %s, which answers until then", old.pid)
        new = Engine(self._settings, self._metrics, before=old)
        try:
            await new.start(spec)
            await load_all(new, folders)
        except BaseException:
            await new.stop()
            old.starts = new.starts
            raise
        return new

    async def _in_place(
        self, spec: EngineSpec, folders: dict[str, Path], old: Engine, old_folders: dict[str, Path], why: str
    ) -> Engine:
        live, before, old_spec = self._live, self._live.table, old.spec
        assert before is not None
        assert old_spec is not None
        logger.warning(
            "the engine is replaced and nobody is answered for about %.0f s: no second one fits beside it (%s)",
            *(old.start_seconds, why),
        )
        live.table, live.replacing = None, old.start_seconds
        try:
            try:
                await asyncio.wait_for(old.in_flight.ended(), before.release.gateway.drain_seconds)
            except TimeoutError:
                logger.warning("answers still under way after %.0f s are cut off", before.release.gateway.drain_seconds)
            try:
                await old.start(spec)
                await load_all(old, folders)
            except TunelineError:
                logger.exception("the new engine does not run; going back to release %d", before.release.sequence)
                await old.start(old_spec)
                await load_all(old, old_folders)
                live.table = before
                raise
        finally:
            live.replacing = None
        return old

    def retire(self, engine: Engine, seconds: float) -> None:
        """End an engine that is no longer asked, once its answers are done or ``seconds`` have passed."""
        task = asyncio.create_task(self._retire(engine, seconds), name="retiring engine")
        self._leaving[engine] = task
        task.add_done_callback(lambda _: self._leaving.pop(engine, None))

    async def _retire(self, engine: Engine, seconds: float) -> None:
        try:
            await asyncio.wait_for(engine.in_flight.ended(), seconds)
        except TimeoutError:
            logger.warning("answers still under way in the old engine after %.0f s are cut off", seconds)
        finally:
            await engine.stop()
        logger.info("the old engine is gone")

    async def retired(self) -> None:
        """Wait until only one engine is left."""
        await asyncio.gather(*self._leaving.values(), return_exceptions=True)

    async def stop(self) -> None:
        """End the trial's engine, and those that are no longer asked, at once."""
        await self.end_trial()
        for task in self._leaving.values():
            task.cancel()
        await self.retired()
