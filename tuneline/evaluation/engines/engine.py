"""What every engine does: answer prompts of several subjects greedily, in any order it likes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tuneline.evaluation.report import Role


@dataclass(frozen=True)
class Request:
    """A rendered prompt for one subject: the base model alone, or with the champion's or the candidate's adapter."""

    subject: Role
    prompt_ids: tuple[int, ...]


@dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
        ids: token ids of the answer, the one that ends it included.
        finished: whether it ended by itself, not at the limit.
        error: why there is no answer; None if there is one.
    """

    ids: tuple[int, ...]
    finished: bool
    error: str | None = None


class Engine(Protocol):
    """Answers greedily: the most likely token each time, until one that ends the answer or the limit."""

    def answer(self, requests: Sequence[Request], on_progress: Callable[[int], None] | None = None) -> list[Answer]:
        """Answer all requests.

        Args:
            requests: of any subjects, mixed as they come.
            on_progress: told now and then how many are done.

        Returns:
            An answer per request, in their order.

        Raises:
            TunelineError: the engine broke. Half an evaluation is no score, so there is no partial result.
        """
        ...
