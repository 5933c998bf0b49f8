"""Answers that were given before: the same question to the same version, where the answer cannot be another one.

A question is deterministic when it says ``temperature: 0`` itself. (To the last bit it is not: a batch's other members
change the order of the engine's sums. What is kept is the first answer.) The whole request is compared as the engine
gets it, with the adapter's name and the version's prompt in it, so an answer is never another version's; a request's
``user`` is part of that too, which keeps users apart that must not notice each other by the time an answer takes.

Two equal questions at the same moment are both computed. Letting the second wait for the first saves little, since the
engine shares their prefix, and it would tie its fate to a client that may leave.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

from serving.gateway.outcome import Outcome, Question, Role
from serving.gateway.routing import RouteTable, Target
from serving.metrics import Metrics

_ENTRY_BYTES = 600  # the objects around a body, measured with sys.getsizeof


@dataclass(frozen=True)
class Slot:
    """Where a question's answer is kept.

    Attributes:
        key: SHA-256 of the question.
        engine_name: the adapter that answers it.
        engine: SHA-256 of the base model and the engine's arguments, which no adapter's name says.
    """

    key: bytes
    engine_name: str
    engine: bytes


@dataclass(frozen=True)
class Kept:
    """A whole answer, as the client got it."""

    slot: Slot
    body: bytes
    prompt_tokens: int | None
    completion_tokens: int | None
    finish_reasons: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes it takes."""
        return len(self.body) + _ENTRY_BYTES

    def outcome(self, version: str, role: Role, *, streamed: bool, keep: bool) -> Outcome:
        """What became of a question that it answers, at once."""
        return Outcome(
            version,
            role,
            streamed,
            keep,
            status=200,
            ttft=0.0 if streamed else None,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            finish_reasons=list(self.finish_reasons),
            cached=True,
            body=bytearray(self.body if keep else b""),
        )


class ResponseCache:
    """Bounded in bytes; what was not asked for the longest time goes first."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()
        self._limit = self._size = 0
        self._engine = b""
        self._names: frozenset[str] = frozenset()

    def follow(self, table: RouteTable | None) -> None:
        """Keep to a release: its limit, and the answers of its versions alone."""
        release = table.release if table is not None else None
        self._limit = release.gateway.cache_mib * 2**20 if release is not None else 0
        if table is None or release is None:
            return  # the engine is away, perhaps for a moment; what comes next says what may stay
        self._names = frozenset(target.engine_name for target in table.versions.values())
        self._engine = hashlib.sha256(
            release.base.model_dump_json().encode() + release.engine.model_dump_json().encode()
        ).digest()
        for key, kept in list(self._kept.items()):
            if not self._current(kept.slot):
                self._drop(key)
        self._shrink()

    def takes(self, question: Question) -> bool:
        """Whether the question's answer may be kept."""
        request = question.request
        # prompt_logprobs are asked for to see what the engine says now (the parity check)
        return bool(self._limit) and request.temperature == 0 and request.prompt_logprobs is None

    def slot(self, question: Question, target: Target, body: bytes) -> Slot | None:
        """Where the answer is kept; None if it may not be.

        Args:
            question: what was asked.
            target: who answers.
            body: the request as the engine gets it.
        """
        request = question.request
        if not self.takes(question):
            return None
        # The engine always counts a stream's tokens, so its body does not say whether the client wants to see them.
        form = f"{question.path} {request.stream} {bool((request.stream_options or {}).get('include_usage'))}\n"
        key = hashlib.sha256(self._engine + form.encode() + body).digest()
        return Slot(key, target.engine_name, self._engine)

    def get(self, slot: Slot, version: str) -> Kept | None:
        """The answer, if it was given before."""
        kept = self._kept.get(slot.key)
        if kept is not None:
            self._kept.move_to_end(slot.key)
        self._metrics.cache.labels(self._metrics.endpoint, version, "miss" if kept is None else "hit").inc()
        return kept

    def put(self, slot: Slot, outcome: Outcome) -> None:
        """Keep an answer if it is whole, and if its version and engine are still there."""
        if outcome.status != 200 or not self._current(slot):
            return
        self._drop(slot.key)
        counted = outcome.prompt_tokens, outcome.completion_tokens, tuple(outcome.finish_reasons)
        kept = self._kept[slot.key] = Kept(slot, bytes(outcome.body), *counted)
        self._size += kept.size
        self._shrink()

    def _current(self, slot: Slot) -> bool:
        return slot.engine_name in self._names and slot.engine == self._engine

    def _drop(self, key: bytes) -> None:
        if (kept := self._kept.pop(key, None)) is not None:
            self._size -= kept.size

    def _shrink(self) -> None:
        while self._size > self._limit:
            self._drop(next(iter(self._kept)))
        self._metrics.cache_bytes.set(self._size)
