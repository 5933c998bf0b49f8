"""What the two versions of a canary answered lately, in memory that does not grow.

The window slides in steps: each step holds the counts of 25 answers of the challenger and of whatever production
answered meanwhile, so that both sides always cover the same time, however small the challenger's share is.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

STEP = 25
_STEPS = 40  # 1,000 answers of the challenger: a share of 2 % is known to within 0.9 points


class Answer(NamedTuple):
    """One answer.

    Attributes:
        caller: whose question it was. Callers differ, and one caller's answers are all on one side.
        ttft: seconds to the first token, of streamed answers.
    """

    caller: Hashable
    errors: bool = False
    empty: bool = False
    overlong: bool = False
    ttft: float | None = None


@dataclass
class Counts:
    """How many answers, and how many of them were what they should not be."""

    answers: int = 0
    errors: int = 0
    empty: int = 0
    overlong: int = 0

    def add(self, answer: Answer) -> None:
        """Count one answer."""
        self.answers += 1
        self.errors += answer.errors
        self.empty += answer.empty
        self.overlong += answer.overlong

    def subtract(self, other: Counts) -> None:
        """Forget what has left the window."""
        self.answers -= other.answers
        self.errors -= other.errors
        self.empty -= other.empty
        self.overlong -= other.overlong


@dataclass
class Side:
    """One version's answers within the window.

    Attributes:
        counts: of all of them.
        samples: of each step a sample of at most 25 answers; the challenger's is all there is.
    """

    counts: Counts = field(default_factory=Counts)
    steps: deque[Counts] = field(default_factory=lambda: deque([Counts()]))
    samples: deque[list[Answer]] = field(default_factory=lambda: deque([[]]))

    def add(self, answer: Answer) -> None:
        """Count one answer; Vitter's algorithm R decides whether it is in the sample."""
        self.counts.add(answer)
        step, sample = self.steps[-1], self.samples[-1]
        step.add(answer)
        if len(sample) < STEP:
            sample.append(answer)
        elif (place := random.randrange(step.answers)) < STEP:
            sample[place] = answer

    def next_step(self, keep: int) -> None:
        """Begin a step, and forget those before the newest ``keep``."""
        self.steps.append(Counts())
        self.samples.append([])
        while len(self.steps) > keep:
            self.counts.subtract(self.steps.popleft())
            self.samples.popleft()

    def sampled(self) -> list[Answer]:
        """The samples of all steps together."""
        return [answer for sample in self.samples for answer in sample]


class Window:
    """Both sides of one canary.

    Args:
        min_requests: of the canary's bounds; the window is never shorter.

    Attributes:
        seen: answers of the challenger since the canary began.
        length: answers of the challenger that the window holds.
    """

    def __init__(self, min_requests: int) -> None:
        self.challenger = Side()
        self.champion = Side()
        self.seen = 0
        self._steps = max(_STEPS, -(-min_requests // STEP) + 1)
        self.length = self._steps * STEP

    def add(self, answer: Answer, *, challenger: bool) -> None:
        """Count one answer of one side."""
        if not challenger:
            self.champion.add(answer)
            return
        if self.challenger.steps[-1].answers == STEP:
            self.challenger.next_step(self._steps)
            self.champion.next_step(self._steps)
        self.challenger.add(answer)
        self.seen += 1
