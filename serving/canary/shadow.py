"""The challenger in the shadow: asked what production is asked, by the callers of its share, and seen by nobody.

A shadow is let in only while nobody waits and the engine has a sequence free for it, so that it takes nobody's place,
and it ends with the answer it belongs to when that one's client leaves. Both answers of a pair become one line of
``shadow.jsonl``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
from dataclasses import dataclass, field, replace
from typing import Any

from serving.engine.supervisor import Engine
from serving.gateway.admission import Queue
from serving.gateway.answer import Live
from serving.gateway.errors import ApiError
from serving.gateway.exchange import engine_body, exchange
from serving.gateway.outcome import CLIENT_GONE, Outcome, Question
from serving.gateway.redact import redact
from serving.gateway.routing import RouteTable, Target
from serving.gateway.said import texts
from serving.gateway.weight import weigh
from serving.metrics import Metrics
from serving.private_log import PrivateLog
from serving.settings import Settings

logger = logging.getLogger(__name__)

_FILE_BYTES = 32 * 2**20  # about 80,000 pairs without texts
_FILES = 3

_MOST = 8  # under way at once


class Nowhere:
    """Takes an answer that nobody sees."""

    async def begin(self, content_type: bytes, length: int | None) -> None:
        """Nothing is sent."""

    async def piece(self, data: bytes, *, last: bool) -> None:
        """Nothing is sent."""


@dataclass(eq=False)
class _Pair:
    """A question, production's outcome, and the challenger's.

    Attributes:
        places: sequences in the engine that the shadow may take.
    """

    question: Question
    seen: Outcome
    shadow: Outcome
    places: int
    seen_is_over: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Shadows:
    """The shadows under way.

    Args:
        queue: the places that visible answers have in the engine; shadows take none of them.
    """

    def __init__(self, settings: Settings, live: Live, metrics: Metrics, queue: Queue) -> None:
        self._live = live
        self._metrics = metrics
        self._queue = queue
        self._log = PrivateLog(settings.workdir / "shadow.jsonl", _FILE_BYTES, _FILES)
        self._pairs: dict[int, _Pair] = {}  # by the identity of production's outcome

    def begin(self, question: Question, outcome: Outcome, table: RouteTable, engine: Engine) -> None:
        """Ask the challenger, too, if production's answer has a shadow; returns at once."""
        challenger = table.challenger
        if (
            challenger is None
            or outcome.role != "production"
            or not table.release.routes.shadow
            or not table.drawn(question.caller)
        ):
            return
        places = weigh(question.request, table.release.gateway, table.release.engine).places
        if not self._room(places, table.release.engine.max_num_seqs):
            self._metrics.shadows_dropped.labels(self._metrics.endpoint).inc()
            return
        outcome.keep = True
        shadow = Outcome(challenger.version, "shadow", streamed=outcome.streamed, keep=True)
        pair = self._pairs[id(outcome)] = _Pair(question, outcome, shadow, places)
        # counted from now on and not from the task's first step: between the two a release may unload the adapter
        held = contextlib.ExitStack()
        held.enter_context(engine.in_flight.on(challenger.engine_name))
        pair.task = asyncio.create_task(self._answer(pair, challenger, engine, held), name="shadow")

        def over(task: asyncio.Task[None]) -> None:
            held.close()
            del self._pairs[id(outcome)]
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.error("the shadow of request %s failed", question.request_id, exc_info=error)

        pair.task.add_done_callback(over)

    def observe(self, question: Question, outcome: Outcome) -> None:
        """Learn that production's answer is over; an ``Observer``."""
        del question
        pair = self._pairs.get(id(outcome))
        if pair is None:
            return
        pair.seen_is_over.set()
        if outcome.status == CLIENT_GONE and pair.task is not None:
            pair.task.cancel()

    async def stop(self) -> None:
        """Cancel the shadows under way."""
        tasks = [pair.task for pair in self._pairs.values() if pair.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._log.close()

    def _room(self, places: int, sequences: int) -> bool:
        """Whether a shadow fits beside the visible answers and the other shadows."""
        if len(self._pairs) >= _MOST or self._queue.waiting:
            return False
        shadows = sum(pair.places for pair in self._pairs.values())
        return self._queue.taken + shadows + places <= sequences

    async def _answer(self, pair: _Pair, target: Target, engine: Engine, held: contextlib.ExitStack) -> None:
        question = replace(pair.question, request_id=f"{pair.question.request_id}-shadow")
        try:
            body = engine_body(question, target)
            with contextlib.suppress(ApiError):  # its status is in the outcome, and nobody waits for more
                await exchange(engine, question, target, self._live.endpoint, body, pair.shadow, Nowhere())
        except asyncio.CancelledError:
            pair.shadow.status = CLIENT_GONE
            raise
        finally:
            held.close()  # the pair may have to wait for production's answer, the adapter need not
            for observe in self._live.observers:
                observe(question, pair.shadow)
        await pair.seen_is_over.wait()
        table = self._live.table
        share = table.release.gateway.prompt_log_share if table is not None else 0.0
        await asyncio.to_thread(self._write, pair, random.random() < share)

    def _write(self, pair: _Pair, with_texts: bool) -> None:
        seen, shadow = (texts(bytes(outcome.body)) for outcome in (pair.seen, pair.shadow))
        line: dict[str, Any] = {
            "request_id": pair.question.request_id,
            "production": _said(pair.seen),
            "challenger": _said(pair.shadow),
            "equal": seen == shadow,
        }
        if with_texts:
            line["production"]["texts"] = [redact(text) for text in seen]
            line["challenger"]["texts"] = [redact(text) for text in shadow]
        self._log.write(json.dumps(line, ensure_ascii=False))


def _said(outcome: Outcome) -> dict[str, Any]:
    return {
        "version": outcome.version,
        "status": outcome.status,
        "ttft": outcome.ttft,
        "seconds": round(outcome.seconds, 4),
        "prompt_tokens": outcome.prompt_tokens,
        "completion_tokens": outcome.completion_tokens,
        "finish_reasons": outcome.finish_reasons,
    }
