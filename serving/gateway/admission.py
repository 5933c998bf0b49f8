"""Who gets a place in the engine: limits per key, and a bounded queue before it."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from serving.gateway.auth import Key
from serving.gateway.outcome import Outcome
from serving.gateway.schemas import ChatRequest, CompletionRequest
from serving.metrics import Metrics


class Ticket:
    """One question's right to be asked; a context, which gives back what it took however the question ends.

    Attributes:
        outcome: what became of it, once that is known: only what was used stays counted.
    """

    outcome: Outcome | None = None

    async def place(self) -> None:
        """Wait for a place in the engine.

        Raises:
            ApiError: 503, there are too many before this one, or it waited too long.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return


class Admission:
    """The limits of one endpoint.

    Attributes:
        waiting: questions that wait for a place in the engine.
    """

    waiting: int = 0

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def admit(self, key: Key, request: ChatRequest | CompletionRequest) -> Ticket:
        """Count a question against its key's limits.

        Raises:
            ApiError: 429, with the seconds after which it would be let in.
        """
        return Ticket()
