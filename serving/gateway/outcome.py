"""A question on its way through the gateway, and what became of it. Everything that counts or judges reads these."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from serving.gateway.schemas import ChatRequest, CompletionRequest

Role = Literal["production", "challenger", "pinned", "shadow"]

CLIENT_GONE = 499  # nginx's number for a client that left before it was answered

# Within a JSON string a quote is escaped, so these match a field of the engine's and never what the model wrote.
_FINISH = re.compile(rb'"finish_reason":\s*"(\w+)"')
_USAGE = re.compile(rb'"usage":\s*\{[^}]*')
_PROMPT_TOKENS = re.compile(rb'"prompt_tokens":\s*(\d+)')
_COMPLETION_TOKENS = re.compile(rb'"completion_tokens":\s*(\d+)')


@dataclass(frozen=True)
class Question:
    """One request that was let in.

    Attributes:
        path: ``/v1/chat/completions`` or ``/v1/completions``.
        key: id of the API key.
        caller: who asks, for routing: the request's ``user``, else the key. The same caller gets the same version.
        pin: the version the caller wants, if it may.
        traceparent: W3C trace context for the engine, if traces are on.
    """

    path: str
    request: ChatRequest | CompletionRequest
    request_id: str
    key: str
    caller: str
    pin: str | None = None
    traceparent: str | None = None


@dataclass
class Outcome:
    """What became of a question at one version; filled in while the answer arrives.

    Attributes:
        status: 200, what the engine refused with, 503 when it broke off, 499 when the client left, 0 before any of it.
        asked: when the engine was asked (``time.perf_counter``).
        ttft: seconds from there to the first byte of a streamed answer.
        seconds: to its last byte.
        prompt_tokens: as the engine counted them; None if it did not get that far.
        completion_tokens: likewise, all ``n`` answers together.
        finish_reasons: one per answer, e.g. ``stop``, ``length``, ``tool_calls``.
        cached: it came from the response cache.
        keep: the answer's bytes are collected in ``body``.
    """

    version: str
    role: Role
    streamed: bool
    keep: bool = False
    asked: float = field(default_factory=time.perf_counter)
    status: int = 0
    ttft: float | None = None
    seconds: float = 0.0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    finish_reasons: list[str] = field(default_factory=list)
    cached: bool = False
    body: bytearray = field(default_factory=bytearray)

    @property
    def ttft_ms(self) -> float | None:
        """``ttft`` in milliseconds, to a tenth."""
        return round(self.ttft * 1000, 1) if self.ttft is not None else None

    @property
    def failed(self) -> bool:
        """Whether the version, not the client, is to blame for there being no whole answer."""
        return self.status >= 500

    @property
    def empty(self) -> bool:
        """Whether it ended of itself without a word: the end token alone. One token at a limit of one is an answer."""
        few = (self.completion_tokens or 0) <= max(1, len(self.finish_reasons))
        return self.status == 200 and few and not self.overlong

    @property
    def overlong(self) -> bool:
        """Whether an answer was cut off at its limit."""
        return "length" in self.finish_reasons

    @property
    def result(self) -> str:
        """One word for it: ok, empty, overlong, refused, failed or left."""
        if self.status == CLIENT_GONE:
            return "left"
        if self.status != 200:
            return "failed" if self.failed or not self.status else "refused"
        return "empty" if self.empty else "overlong" if self.overlong else "ok"

    def read(self, data: bytes) -> None:
        """Take down what a piece of the answer says about it: whole events, or a whole JSON answer."""
        if b'"finish_reason":' in data:
            self.finish_reasons += [reason.decode() for reason in _FINISH.findall(data)]
        if usage := _USAGE.search(data):
            if found := _PROMPT_TOKENS.search(usage[0]):
                self.prompt_tokens = int(found[1])
            if found := _COMPLETION_TOKENS.search(usage[0]):
                self.completion_tokens = int(found[1])


# Called once for every question that reached a version, shadows too, after its last byte.
Observer = Callable[[Question, Outcome], None]
