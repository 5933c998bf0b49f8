"""The tickets: a question is counted against its key's limits, waits for a place, and settles what it really used.

Every replica counts for itself: with three of them a key gets up to three times its limit per minute. A count in common
would need a store that every question waits for; whoever wants one total divides it by the number of replicas.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from serving.gateway.admission.minute import SECONDS, Minute, Use
from serving.gateway.admission.queue import Queue
from serving.gateway.errors import ApiError
from serving.gateway.outcome import CLIENT_GONE, Outcome
from serving.gateway.schemas import ChatRequest, CompletionRequest
from serving.gateway.weight import Weight, weigh
from serving.metrics import Metrics
from tuneline.release import EngineArguments, GatewayArguments, Release
from tuneline.release.keys import Key


class Spent:
    """What one key has used in the last minute."""

    def __init__(self) -> None:
        self.requests = Minute()
        self.tokens = Minute()


class Ticket:
    """One question's right to be asked; a context, which gives back what it took however the question ends.

    Attributes:
        outcome: what became of it, once that is known: only what was used stays counted.
        headers: OpenAI's ``x-ratelimit-`` headers, if its key has limits.
    """

    outcome: Outcome | None = None

    def __init__(
        self, admission: Admission, key: str, places: int, request: Use | None, tokens: Use | None, spent: Spent
    ) -> None:
        self._admission = admission
        self._key = key
        self._wanted = places
        self._request = request
        self._tokens = tokens
        self._spent = spent
        self._taken = 0
        self.headers: list[tuple[str, str]] = []

    async def place(self) -> None:
        """Wait for a place in the engine.

        Raises:
            ApiError: 503, there are too many before this one, or it waited too long.
        """
        self._taken = await self._admission.place(self._key, self._wanted)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        now = self._admission.clock()
        if self._taken:
            self._admission.queue.give(self._taken)
        if self._request is not None and self.outcome is None:
            self._spent.requests.settle(now, self._request, 0)
        if self._tokens is not None:
            self._spent.tokens.settle(now, self._tokens, _used(self.outcome, self._tokens.amount))


class Admission:
    """The limits of one endpoint.

    Args:
        release: what is applied; asked anew for every question, so that a new release's limits hold at once.
        clock: seconds that never go back.
    """

    def __init__(
        self, metrics: Metrics, release: Callable[[], Release | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._metrics = metrics
        self._release = release
        self._spent: dict[str, Spent] = {}
        self._swept = 0.0
        self.clock = clock
        self.queue = Queue(metrics)

    def admit(self, key: Key, request: ChatRequest | CompletionRequest) -> Ticket:
        """Count a question against its key's limits.

        Raises:
            ApiError: 429, with the seconds after which it would be let in; 422 if it never would be.
        """
        arguments, engine = self._arguments()
        max_requests = key.requests_per_minute or arguments.requests_per_minute
        max_tokens = key.tokens_per_minute or arguments.tokens_per_minute
        weight = weigh(request, arguments, engine)
        if max_requests is None and max_tokens is None:
            return Ticket(self, key.id, weight.places, None, None, Spent())
        now = self.clock()
        self._sweep(now)
        spent = self._spent.setdefault(key.id, Spent())
        tokens = weight.tokens
        if max_tokens is not None:
            _fits_at_all(weight, max_tokens)
            tokens = min(tokens, max_tokens)
        waits = {
            "requests": spent.requests.wait(now, 1, max_requests) if max_requests is not None else 0.0,
            "tokens": spent.tokens.wait(now, tokens, max_tokens) if max_tokens is not None else 0.0,
        }
        what = max(waits, key=lambda name: waits[name])
        if (wait := waits[what]) > 0:
            self._metrics.refused.labels(self._metrics.endpoint, f"{what}_per_minute").inc()
            limit = max_requests if what == "requests" else max_tokens
            seconds = math.ceil(wait)
            raise ApiError(
                429,
                f"Key {key.id} has its {limit} {what} of this minute; this question would be let in in {seconds} s.",
                code="rate_limit_exceeded",
                retry_after=seconds,
                headers=_headers(now, spent, max_requests, max_tokens),
            )
        ticket = Ticket(
            self,
            key.id,
            weight.places,
            spent.requests.use(now, 1) if max_requests is not None else None,
            spent.tokens.use(now, tokens) if max_tokens is not None else None,
            spent,
        )
        ticket.headers = _headers(now, spent, max_requests, max_tokens)
        return ticket

    async def place(self, key: str, places: int) -> int:
        """Wait for places in the engine; those taken, to be given back to ``queue``."""
        arguments, engine = self._arguments()
        size = arguments.max_running or math.ceil(engine.max_num_seqs * 1.25)
        return await self.queue.take(key, places, size, arguments.max_waiting, arguments.wait_seconds)

    def _arguments(self) -> tuple[GatewayArguments, EngineArguments]:
        release = self._release()
        return (release.gateway, release.engine) if release is not None else (GatewayArguments(), EngineArguments())

    def _sweep(self, now: float) -> None:
        """Forget keys that have not asked for a minute; some are gone for good."""
        if now - self._swept > SECONDS:
            self._swept = now
            self._spent = {
                key: spent for key, spent in self._spent.items() if spent.requests.reset(now) or spent.tokens.reset(now)
            }


def _fits_at_all(weight: Weight, limit: int) -> None:
    # 422 and not 429: clients ask again by themselves at 429, and here that would never help.
    if weight.least > limit:
        raise ApiError(
            422,
            f"This question may come to {weight.least} tokens and its key has {limit} per minute, so it can never be "
            f"let in. Shorten it, or ask for fewer tokens or answers.",
            code="larger_than_limit",
            param="max_tokens",
        )


def _used(outcome: Outcome | None, reserved: int) -> int:
    """Tokens that stay counted."""
    if outcome is None or outcome.cached or outcome.failed:
        return 0
    if outcome.prompt_tokens is not None:
        return outcome.prompt_tokens + (outcome.completion_tokens or 0)
    # Whoever leaves before the engine has counted keeps what was set aside, or leaving early would cost nothing.
    return reserved if outcome.status in (200, CLIENT_GONE) else 0


def _headers(now: float, spent: Spent, max_requests: int | None, max_tokens: int | None) -> list[tuple[str, str]]:
    headers = []
    for what, minute, limit in (("requests", spent.requests, max_requests), ("tokens", spent.tokens, max_tokens)):
        if limit is not None:
            headers += [
                (f"x-ratelimit-limit-{what}", str(limit)),
                (f"x-ratelimit-remaining-{what}", str(max(0, limit - minute.total))),
                (f"x-ratelimit-reset-{what}", f"{minute.reset(now):.3f}s"),
            ]
    return headers
