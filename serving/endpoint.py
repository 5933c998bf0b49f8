"""One endpoint put together: keys, engine, reconciler, and what they have to say about themselves."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from serving.canary.guard import CanaryGuard
from serving.canary.shadow import Shadows
from serving.engine.process import LOG_TAIL, clear_private_folders
from serving.engine.supervisor import Engine
from serving.engine.tree import adopt_orphans
from serving.feedback_store import FeedbackStore
from serving.gateway.admission import Admission
from serving.gateway.answer import Live
from serving.gateway.auth import KeyRing
from serving.gateway.cache import ResponseCache
from serving.gateway.feedback import Answered
from serving.gateway.prompt_log import PromptLog
from serving.gateway.traces import traces_of
from serving.metrics import Metrics
from serving.reconcile import Reconciler
from serving.settings import Settings
from tuneline.release import GatewayArguments, Release

NO_PRODUCTION = "no production version"  # a state: every other question is answered

logger = logging.getLogger(__name__)


class Endpoint:
    """The parts of an endpoint and their life.

    Attributes:
        stopping: no new question is taken.
    """

    def __init__(self, settings: Settings) -> None:
        self.name = settings.endpoint
        self.settings = settings
        self.metrics = Metrics(settings.endpoint)
        self.keys = KeyRing(settings.folder)
        self.metrics.engine_up.follow(lambda: self.engine.state == "ready")
        prompt_log = PromptLog(settings.workdir / "prompts.jsonl")
        self.live = Live(settings.endpoint, Engine(settings, self.metrics), ResponseCache(self.metrics), prompt_log)
        self.admission = Admission(self.metrics, self._release)
        self.answered = Answered()
        self.canary = CanaryGuard(settings, self.live, self.metrics)
        self.shadows = Shadows(settings, self.live, self.metrics, self.admission.queue)
        self.live.observers += [self.metrics.count, self.answered.add, self.canary.observe, self.shadows.observe]
        self.live.beside.append(self.shadows.begin)
        self.feedback = FeedbackStore(settings.folder, self.metrics)
        self.traces = traces_of(settings.endpoint)
        self.reconciler = Reconciler(settings, self.live, self.metrics)
        self.stopping = False
        self._following: list[asyncio.Task[None]] = []

    @property
    def engine(self) -> Engine:
        """The engine that answers."""
        return self.live.engine

    async def start(self) -> None:
        """Begin to follow the releases. Returns at once; ``readiness`` says how far it is."""
        adopt_orphans()
        self.settings.workdir.mkdir(parents=True, exist_ok=True)
        clear_private_folders(self.settings.workdir)
        self.canary.start()
        self.engine.prepare()
        self.feedback.start()
        self._following = [
            asyncio.create_task(self.keys.follow(), name="keys"),
            asyncio.create_task(self.reconciler.follow(), name="reconciler"),
        ]

    async def drain(self) -> None:
        """Take no more questions, let those under way finish, and cut off what the time is not enough for."""
        self.stopping = True
        await self.shadows.stop()  # nobody waits for them
        try:
            await asyncio.wait_for(self.engine.in_flight.ended(), self.settings.drain_seconds)
        except TimeoutError:
            logger.warning("answers still under way after %.0f s are cut off", self.settings.drain_seconds)
        await self.stop()

    async def stop(self) -> None:
        """Stop following and end the engine."""
        self.stopping = True
        for task in self._following:
            task.cancel()
        await asyncio.gather(*self._following, return_exceptions=True)
        await self.canary.stop()
        await self.shadows.stop()
        await self.reconciler.stop()
        await self.engine.stop(standby=True)
        await self.feedback.stop()
        await asyncio.to_thread(self.live.prompt_log.stop)
        if self.traces is not None:
            await asyncio.to_thread(self.traces.stop)

    @property
    def limits(self) -> GatewayArguments:
        """What a single request may be, as the applied release says."""
        release = self._release()
        return release.gateway if release is not None else GatewayArguments()

    def readiness(self, *, with_log: bool = False) -> dict[str, Any]:
        """Whether a client that asks now is answered, and if not, why.

        Args:
            with_log: an engine that did not start is reported with the end of its log, which is not for everybody.
        """
        table = self.live.table
        ready = not self.stopping and self.engine.ready and table is not None and table.production is not None
        return {
            "ready": ready,
            "state": self._state(),
            "release": table.release.sequence if table is not None else None,
            "engine": {
                "state": self.engine.state,
                "pid": self.engine.pid,
                "starts": self.engine.starts,
                "error": self.engine.error if with_log else _without_log(self.engine.error),
                "start_seconds": round(self.engine.start_seconds, 1),
                "replacing": self.reconciler.replacing,
            },
            "error": self._error() if with_log else _without_log(self._error()),
        }

    def describe(self) -> dict[str, Any]:
        """What is live: the applied release, and what was wanted."""
        release = self._release()
        return {
            "endpoint": self.name,
            "sequence": release.sequence if release is not None else None,
            "wanted": self.reconciler.wanted,
            "base": release.base.model_dump(mode="json") if release is not None else None,
            "adapters": {
                name: {"model_version": adapter.model_version, "sha256": adapter.sha256}
                for name, adapter in (release.adapters.items() if release is not None else ())
            },
            "routes": release.routes.model_dump(mode="json") if release is not None else None,
            "error": self._error(),
            "engine": {
                "pid": self.engine.pid,
                "starts": self.engine.starts,
                "start_seconds": round(self.engine.start_seconds, 1),
                "replacing": self.reconciler.replacing,
            },
        }

    def _release(self) -> Release | None:
        return self.live.table.release if self.live.table is not None else None

    def _state(self) -> str:
        engine, table = self.engine, self.live.table
        if self.stopping:
            return "stopping"
        if self.live.replacing is not None:
            return "replacing the engine"
        if self.reconciler.wanted is None and table is None:
            return "no release" if self.reconciler.error is None else "no release can be read"
        if engine.state in ("restarting", "not answering"):
            return f"engine {engine.state}"
        if engine.state != "ready" or table is None:
            return "starting"
        if not engine.ready:
            return "engine restarting"
        return "ready" if table.production is not None else NO_PRODUCTION

    def _error(self) -> str | None:
        return self.reconciler.error or self.canary.error or self.keys.error


def _without_log(error: str | None) -> str | None:
    return error and error.partition(LOG_TAIL)[0]
