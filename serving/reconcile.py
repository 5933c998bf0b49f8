"""Makes the endpoint what its newest release says, and keeps it what it was when that cannot be done.

The folder is polled, for a poll works the same on a disk and in a bucket. Applying a release: bring the files, start or
replace the engine if it has to be another one, load adapters, switch the routes, unload what nobody names any more.
Everything that can fail comes before the switch.
"""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

from serving.base_model import forget_bases, resolve_base
from serving.engine.command import EngineSpec
from serving.engine.supervisor import Engine, EngineAway
from serving.gateway.answer import Live
from serving.gateway.routing import RouteTable, engine_name
from serving.metrics import Metrics
from serving.replace import Replacement, load_all
from serving.settings import Settings
from tuneline import paths
from tuneline.errors import TunelineError, UserError
from tuneline.release import AdapterRef, BaseRef, EngineArguments, Release, ReleaseStore
from tuneline.release.files import ADAPTER_FILES, fetch

logger = logging.getLogger(__name__)

_AWAY_SECONDS = 0.5
_CRASHES = 2  # one may be a coincidence
_RETRY_SECONDS = (1.0, 2.0, 5.0, 15.0, 30.0)


class Reconciler:
    """Follows the releases of one endpoint.

    Attributes:
        wanted: the highest sequence number seen.
    """

    def __init__(self, settings: Settings, live: Live, metrics: Metrics) -> None:
        self._settings = settings
        self._live = live
        self._metrics = metrics
        self._replacement = Replacement(settings, live, metrics)
        metrics.release_error.follow(lambda: self.error is not None)
        self._cache = settings.workdir.absolute() / "cache"
        self._last_good = settings.workdir / "last-good-release"
        self._store: ReleaseStore | None = None
        self._attempts = 0
        self._retry_at = 0.0
        self._crashes = 0
        self._given_up: int | None = None  # trying this one again would take the engine down again
        self._leaving: set[asyncio.Task[None]] = set()
        self._folder_error: str | None = None
        self._release_error: str | None = None
        self.wanted: int | None = None

    @property
    def error(self) -> str | None:
        """Why ``wanted`` is not applied, or why the folder cannot be read; None while all is well."""
        return self._release_error or self._folder_error

    @property
    def replacing(self) -> bool:
        """Whether another engine is being started for a release while one is, or was, live."""
        return self._replacement.now

    @property
    def _engine(self) -> Engine:
        return self._live.engine

    async def stop(self) -> None:
        """End what is on its way out, once ``follow`` has been cancelled."""
        for task in self._leaving:
            task.cancel()
        await self._replacement.stop()

    async def follow(self) -> None:
        """Run until cancelled. Nothing that goes wrong ends it: it is reported, and tried again."""
        while True:
            try:
                await self._step()
                self._folder_error = None
            except Exception as error:
                if str(error) != self._folder_error:
                    logger.exception("%s could not be read", self._settings.folder)
                self._folder_error = f"{self._settings.folder} could not be read: {error}"
            await asyncio.sleep(self._settings.poll_seconds)

    async def _step(self) -> None:
        sequences = await asyncio.to_thread(self._sequences)
        applied = self._live.table.release.sequence if self._live.table is not None else None
        newest = sequences[-1] if sequences else 0
        if applied is not None and newest < applied:
            self._report(f"release {applied} is live and stays, but it is gone from the folder; the newest is {newest}")
            return
        if not sequences:
            return
        if sequences[-1] != self.wanted:
            self.wanted, self._attempts, self._retry_at = sequences[-1], 0, 0.0
            self._crashes = 0
        if self.wanted == applied:
            self._report(None)
        elif self.wanted != self._given_up and time.monotonic() >= self._retry_at:
            await self._try(self.wanted, sequences)

    async def _try(self, wanted: int, sequences: list[int]) -> None:
        """Apply a release; when that fails, say why and see that something answers."""
        try:
            await self._apply(await self._read(wanted))
            self._report(None)
            return
        except EngineAway as error:  # it is being started again, and gets this release when it is back
            self._report(f"release {wanted} could not be applied: {error}")
            self._retry_at = time.monotonic() + _AWAY_SECONDS
            return
        except Exception as error:  # noqa: BLE001 - storage clients raise what they like
            self._report(f"release {wanted} could not be applied: {error}")
            self._retry_at = time.monotonic() + _RETRY_SECONDS[min(self._attempts, len(_RETRY_SECONDS) - 1)]
            self._attempts += 1
        if self._live.table is not None and not self._engine.ready:
            self._crashes += 1
            if self._crashes == _CRASHES:
                logger.error("release %d has ended the engine %d times and is not tried again", wanted, _CRASHES)
                self._given_up = wanted
        fallback = self._remembered()
        if self._live.table is None and fallback in sequences and fallback != wanted:
            logger.warning("falling back to release %d, the last that worked", fallback)
            try:
                await self._apply(await self._read(fallback))
            except Exception:  # as above
                logger.exception("release %d could not be applied either", fallback)

    async def _read(self, sequence: int) -> Release:
        assert self._store is not None
        release = await asyncio.to_thread(self._store.read, sequence)
        if release.endpoint != self._settings.endpoint:
            raise UserError(
                f"it is a release of endpoint {release.endpoint!r}, and this is {self._settings.endpoint!r}"
            )
        return release

    async def _apply(self, release: Release) -> None:
        """Apply a release; its trial is brought up beside production first, or in its place if there is no room."""
        if release.trial is None:
            if self._was_on_trial(release) and self._live.trial is not None and not self._live.trial.ready:
                raise EngineAway(f"the engine of the version that was on trial is {self._live.trial.state}")
            await self._apply_one(release)
            await self._replacement.end_trial()
            return
        table = self._live.table
        if table is None or not _same_engine(table.release, release):
            await self._apply_one(release.production_alone())
        trial = release.trial
        folder = await asyncio.to_thread(self._fetch_adapter, trial.adapter)
        spec = await asyncio.to_thread(self._spec, trial.base, trial.engine)
        try:
            beside = await self._replacement.start_trial(spec, {engine_name(trial.adapter): folder})
        except EngineAway:
            raise
        except TunelineError:
            self._given_up = release.sequence  # each try costs a start of an engine
            raise
        await self._apply_one(release if beside else release.trial_alone())

    def _was_on_trial(self, release: Release) -> bool:
        """Whether a release goes on with the engine of the trial that is live."""
        trial = self._live.table.release.trial if self._live.table is not None else None
        return trial is not None and (trial.base, trial.engine) == (release.base, release.engine)

    async def _apply_one(self, release: Release) -> None:
        began = time.monotonic()
        adapters = list(release.adapters.values())
        fetched = await asyncio.gather(*(asyncio.to_thread(self._fetch_adapter, adapter) for adapter in adapters))
        folders = {engine_name(adapter): folder for adapter, folder in zip(adapters, fetched, strict=True)}
        before = self._live.table
        spec = self._engine.spec
        if spec is None or before is None or not _same_engine(before.release, release):
            spec = await asyncio.to_thread(self._spec, release.base, release.engine)
        if spec == self._engine.spec:
            await load_all(self._engine, folders)
            engine = self._engine
        else:
            engine = await self._another_engine(spec, folders, release, before)
        old = self._engine
        trial = self._replacement.trial if release.trial is not None else None
        table = self._live.apply(release, engine, trial)
        for asked in (engine, *([trial] if trial is not None else [])):
            asked.hang_seconds = release.gateway.hang_seconds
        self._metrics.release_sequence.set(release.sequence)
        self._metrics.set_traffic(table.traffic())
        took = (time.monotonic() - began) * 1000
        logger.info("release %d applied after %.0f ms: %s", release.sequence, took, release.reason)
        self._last_good.write_text(f"{release.sequence}\n")
        if before is None:
            return
        await asyncio.to_thread(forget_bases, self._cache / "bases", [*_bases(before.release), *_bases(release)])
        if old is not engine:
            self._replacement.retire(old, before.release.gateway.drain_seconds)
            return
        for name in _names(before.release) - set(folders):
            task = asyncio.create_task(self._unload(name))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def _another_engine(
        self, spec: EngineSpec, folders: dict[str, Path], release: Release, before: RouteTable | None
    ) -> Engine:
        old = list(before.release.adapters.values()) if before is not None else []
        try:
            old_folders = {engine_name(a): await asyncio.to_thread(self._fetch_adapter, a) for a in old}
            return await self._replacement.engine_for(spec, folders, old_folders)
        except TunelineError:
            if before is not None:  # each try costs a start of the engine, on a machine that answers
                self._given_up = release.sequence
            raise

    async def _unload(self, name: str) -> None:
        engine = self._engine
        await engine.in_flight.ended({name})
        table = self._live.table
        if engine is not self._engine:
            return  # it goes, and takes its adapters along
        if table is None or name not in _names(table.release):  # a later release may want it back
            await engine.unload(name)
            logger.info("adapter %s unloaded", name)

    def _sequences(self) -> list[int]:
        if self._store is None:
            self._store = ReleaseStore(paths.releases_folder(self._settings.folder))
        return self._store.sequences()

    def _fetch_adapter(self, adapter: AdapterRef) -> Path:
        return fetch(adapter.uri, adapter.sha256, self._cache / "adapters", ADAPTER_FILES)

    def _spec(self, base: BaseRef, arguments: EngineArguments) -> EngineSpec:
        model, local = resolve_base(base, self._cache / "bases")
        return EngineSpec(model=model, local=local, base=base, arguments=arguments)

    def _remembered(self) -> int | None:
        """The release that last worked here, from an earlier life of this endpoint."""
        try:
            return int(self._last_good.read_text())
        except (FileNotFoundError, ValueError):
            return None

    def _report(self, error: str | None) -> None:
        if error is not None and error != self._release_error:
            logger.error("%s", error)
        self._release_error = error


def _same_engine(one: Release, other: Release) -> bool:
    return one.base == other.base and one.engine == other.engine


def _bases(release: Release) -> list[BaseRef]:
    return [release.base, *([release.trial.base] if release.trial is not None else [])]


def _names(release: Release) -> set[str]:
    return {engine_name(adapter) for adapter in release.adapters.values()}
