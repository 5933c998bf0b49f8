"""Makes the endpoint what its newest release says, and keeps it what it was when that cannot be done.

The folder is polled, for a poll works the same on a disk and in a bucket. Applying a release: bring the files, start or
replace the engine if it has to be another one, load adapters, switch the routes, unload what nobody names any more.
Everything that can fail comes before the switch.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from pathlib import Path

from serving.engine.command import EngineSpec
from serving.engine.supervisor import Engine, EngineAway
from serving.gateway.answer import Live
from serving.gateway.routing import engine_name
from serving.metrics import Metrics
from serving.settings import Settings
from tuneline.errors import TunelineError, UserError
from tuneline.release import AdapterRef, BaseRef, Release, ReleaseStore
from tuneline.release.files import ADAPTER_FILES, FingerprintMismatch, fetch, fingerprint

logger = logging.getLogger(__name__)

_HUB_ID = re.compile(r"^[\w.-]+(/[\w.-]+)?$")
_DRAIN_SECONDS = 10.0  # what an answer under way gets before its engine is replaced
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
        self._engine: Engine = live.engine
        self._metrics = metrics
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
        if not sequences:
            return
        if sequences[-1] != self.wanted:
            self.wanted, self._attempts, self._retry_at = sequences[-1], 0, 0.0
            self._crashes = 0
        applied = self._live.table.release.sequence if self._live.table is not None else None
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
        began = time.monotonic()
        adapters = list(release.adapters.values())
        fetched = await asyncio.gather(*(asyncio.to_thread(self._fetch_adapter, adapter) for adapter in adapters))
        folders = {engine_name(adapter): folder for adapter, folder in zip(adapters, fetched, strict=True)}
        before = self._live.table
        spec = self._engine.spec
        if spec is None or before is None or not _same_engine(before.release, release):
            spec = await asyncio.to_thread(self._spec, release)
        if spec == self._engine.spec:
            await self._load(folders)
        else:
            await self._replace_engine(spec, folders, release.sequence)
        table = self._live.apply(release)
        self._metrics.release_sequence.set(release.sequence)
        self._metrics.set_traffic(table.traffic())
        took = (time.monotonic() - began) * 1000
        logger.info("release %d applied after %.0f ms: %s", release.sequence, took, release.reason)
        self._last_good.write_text(f"{release.sequence}\n")
        for name in set() if before is None else _names(before.release) - set(folders):
            task = asyncio.create_task(self._unload(name))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def _load(self, folders: dict[str, Path]) -> None:
        """Load what is not loaded yet; all of it or nothing."""
        new: list[str] = []
        try:
            for name, folder in folders.items():
                if not self._engine.loaded(name):
                    await self._engine.load(name, folder)
                    new.append(name)
        except TunelineError:
            for name in new:
                await self._engine.unload(name)
            raise

    async def _replace_engine(self, spec: EngineSpec, folders: dict[str, Path], sequence: int) -> None:
        """Start an engine, in the place of another one if there is one; bring that one back if the new one fails."""
        before, old = self._live.table, self._engine.spec
        self._live.table = None
        try:
            await asyncio.wait_for(self._engine.in_flight.ended(), _DRAIN_SECONDS)
        except TimeoutError:
            logger.warning("answers were still under way after %.0f s and are cut off", _DRAIN_SECONDS)
        try:
            await self._engine.start(spec)
            await self._load(folders)
        except TunelineError:
            if before is not None and old is not None:
                self._given_up = sequence
                back = before.release
                logger.exception("release %d does not run; going back to release %d", sequence, back.sequence)
                await self._engine.start(old)
                await self._load({engine_name(a): self._fetch_adapter(a) for a in back.adapters.values()})
                self._live.table = before
            raise

    async def _unload(self, name: str) -> None:
        await self._engine.in_flight.ended({name})
        table = self._live.table
        if table is None or name not in _names(table.release):  # a later release may want it back
            await self._engine.unload(name)
            logger.info("adapter %s unloaded", name)

    def _sequences(self) -> list[int]:
        if self._store is None:
            self._store = ReleaseStore(f"{self._settings.folder.rstrip('/')}/releases")
        return self._store.sequences()

    def _fetch_adapter(self, adapter: AdapterRef) -> Path:
        return fetch(adapter.uri, adapter.sha256, self._cache / "adapters", ADAPTER_FILES)

    def _spec(self, release: Release) -> EngineSpec:
        model, local = resolve_base(release.base, self._cache / "bases")
        return EngineSpec(model=model, local=local, base=release.base, arguments=release.engine)

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
        self._metrics.release_error.set(error is not None)


def resolve_base(base: BaseRef, cache: Path) -> tuple[str, bool]:
    """Where the engine finds the base model: a local folder and True, or a hub id and False.

    Raises:
        UserError: there is no such model.
        FingerprintMismatch: the folder is not the one the release names.
    """
    path = Path(base.model.removeprefix("file://"))
    if path.is_dir():
        if base.sha256 is not None and (found := fingerprint(path)) != base.sha256:
            raise FingerprintMismatch(
                f"the base model {path} has fingerprint {found}, but the release names {base.sha256}"
            )
        return str(path.absolute()), True
    if "://" in base.model and not base.model.startswith("file://"):
        if base.sha256 is None:
            raise UserError(
                f"the release names the base model {base.model} without its sha256",
                hint="Write the release again with it.",
            )
        return str(fetch(base.model, base.sha256, cache)), True
    if _HUB_ID.match(base.model):
        return base.model, False
    raise UserError(f"the base model {base.model!r} is no folder on this machine, no URI and no hub id")


def _same_engine(one: Release, other: Release) -> bool:
    return one.base == other.base and one.engine == other.engine


def _names(release: Release) -> set[str]:
    return {engine_name(adapter) for adapter in release.adapters.values()}
