"""Ends a canary whose challenger is worse than its bounds allow.

The end is the next release: production alone. Until it is written, and wherever it cannot be, this gateway alone sends
the challenger nobody any more, after a restart neither. Several replicas may come to the same end at once; one writes
it, the others see that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

from serving.canary.ended import End, UnwrittenEnd
from serving.canary.judge import Verdict, judge
from serving.canary.window import Answer, Window
from serving.gateway.answer import Live
from serving.gateway.outcome import CLIENT_GONE, Outcome, Question
from serving.gateway.routing import RouteTable
from serving.metrics import Metrics
from serving.settings import Settings
from tuneline import paths
from tuneline.release import Release, ReleaseConflict, ReleaseStore

logger = logging.getLogger(__name__)

_RETRY_SECONDS = (1.0, 2.0, 5.0, 15.0, 30.0)


class CanaryGuard:
    """Counts what production and challenger answer under the applied release, and ends the canary of that release.

    Attributes:
        error: why the end of a canary is not written yet; None while all is well.
    """

    def __init__(self, settings: Settings, live: Live, metrics: Metrics) -> None:
        self._settings = settings
        self._live = live
        self._metrics = metrics
        self._table: RouteTable | None = None
        self._window = Window(1)
        self._deaths: set[tuple[str, int]] = set()
        self._ending: asyncio.Task[None] | None = None
        self._unwritten = UnwrittenEnd(settings.workdir)
        self.error: str | None = None

    def start(self) -> None:
        """Take up what an earlier life of this gateway could not write; before the first release is applied."""
        if (end := self._unwritten.read()) is not None:
            self._live.ended = end.judged
            self._finish(self._write(end))

    def observe(self, question: Question, outcome: Outcome) -> None:
        """Count an answer and judge the challenger by it; an ``Observer``."""
        table = self._live.table
        if table is None or table.production is None or table.challenger is None or not self._counts(table, outcome):
            return
        shadow = table.release.routes.shadow
        if shadow and not table.drawn(question.caller):
            return  # production is compared on the questions that the challenger got, too
        if self._table is not table:
            self._begin(table)
        self._window.add(
            Answer(
                # in the shadow both answer the same questions, so each stands for itself
                caller=object() if shadow else question.caller,
                errors=outcome.failed,
                empty=outcome.empty,
                overlong=outcome.overlong,
                ttft=outcome.ttft if outcome.status == 200 else None,
            ),
            challenger=outcome.role != "production",
        )
        if outcome.role != "production" and self._ending is None:
            verdict = judge(self._window, table.release.routes.bounds, table.production.version)
            if verdict is not None:
                self._finish(self._end(table, verdict))

    async def stop(self) -> None:
        """Give up what could not be written yet."""
        if self._ending is not None:
            self._ending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ending

    def _begin(self, table: RouteTable) -> None:
        self._table = table
        self._window = Window(table.release.routes.bounds.min_requests)
        self._deaths = set()

    def _counts(self, table: RouteTable, outcome: Outcome) -> bool:
        """Whether an outcome says how well one of the table's two versions does."""
        versions = {"production": table.production, "challenger": table.challenger, "shadow": table.challenger}
        target = versions.get(outcome.role)
        if target is None or target.version != outcome.version or outcome.asked < table.applied:
            return False  # pinned, or routed by an earlier release
        if outcome.cached or outcome.status == CLIENT_GONE or (outcome.status != 200 and not outcome.failed):
            return False
        engine = self._live.engine
        if outcome.failed and not engine.ready:
            # One death fails all that is under way, of a busy caller's version dozens: it counts once for each version.
            death = (outcome.version, engine.starts)
            if death in self._deaths:
                return False
            self._deaths.add(death)
        return True

    async def _end(self, table: RouteTable, verdict: Verdict) -> None:
        engine, starts = self._live.engine, self._live.engine.starts
        await engine.check()
        if self._live.table is not table:
            return
        if verdict.reason == "errors" and (self._live.engine.starts != starts or not engine.ready):
            logger.warning("the engine broke under the canary, which begins again: %s", verdict.numbers)
            self._begin(table)
            return
        assert table.challenger is not None
        reason = f"canary of version {table.challenger.version} ended: {verdict.numbers}"
        logger.error("%s", reason)
        self._live.ended = table.release
        self._live.table = table.without_challenger()
        self._metrics.set_traffic(self._live.table.traffic())
        await self._write(End(judged=table.release, bound=verdict.reason, reason=reason))

    async def _write(self, end: End) -> None:
        """Write the next release, unless somebody else has; try again while the store cannot be written."""
        attempts = 0
        while True:
            try:
                written = await asyncio.to_thread(self._append, end)
                break
            except ReleaseConflict:
                written = False
                break
            except Exception as error:  # noqa: BLE001 - storage clients raise what they like
                if not attempts:
                    self._metrics.aborts.labels(self._metrics.endpoint, end.bound).inc()
                    logger.error("the end of the canary could not be written, this gateway alone keeps it: %r", error)
                    await asyncio.to_thread(self._unwritten.keep, end)
                self.error = f"{end.reason}; the release that says so could not be written: {error}"
                await asyncio.sleep(_RETRY_SECONDS[min(attempts, len(_RETRY_SECONDS) - 1)])
                attempts += 1
        if not written:
            logger.info("a newer release than %d is there already", end.judged.sequence)
        elif not attempts:
            self._metrics.aborts.labels(self._metrics.endpoint, end.bound).inc()
        self.error = None
        self._unwritten.forget()

    def _append(self, end: End) -> bool:
        """Whether the release was written; not when the judged one is not the current one any more."""
        store = ReleaseStore(paths.releases_folder(self._settings.folder))
        newest = store.sequences()[-1:]
        if not newest:  # a folder that is not mounted looks like this, and will be back
            raise FileNotFoundError(f"{store.folder} holds no release")
        if newest != [end.judged.sequence] or store.read(newest[0]) != end.judged:
            return False
        release = _alone(end.judged).model_copy(
            update={
                "sequence": end.judged.sequence + 1,
                "created_at": datetime.now(UTC),
                "author": f"gateway of {end.judged.endpoint}",
                "reason": end.reason,
            }
        )
        store.create(release)
        return True

    def _finish(self, ending: Coroutine[Any, Any, None]) -> None:
        self._ending = asyncio.create_task(ending, name="canary's end")
        self._ending.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._ending = None
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("the canary could not be ended", exc_info=error)


def _alone(release: Release) -> Release:
    """The same release with its production version alone."""
    production = release.routes.production
    assert production is not None
    routes = release.routes.model_copy(update={"challenger": None, "percent": 0.0, "shadow": False})
    return release.model_copy(update={"adapters": {production: release.adapters[production]}, "routes": routes})
