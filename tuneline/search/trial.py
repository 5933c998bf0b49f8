"""A trial as the store keeps it: what was tried, what was measured while it trained, and how it ended."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue

State = Literal["running", "complete", "pruned", "failed"]


class Measurement(BaseModel):
    """The validation loss at one moment of a training.

    Attributes:
        step: optimizer steps done, of ``steps``.
        loss: validation loss, nats per supervised token.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: int
    steps: int
    loss: float

    @property
    def percent(self) -> int:
        """Share of the run, 0 to 100: trials of different lengths are compared at equal shares."""
        return round(100 * self.step / self.steps)


class Trial(BaseModel):
    """One candidate and its training.

    Attributes:
        number: from 0, in the order of the proposals.
        values: of the searched keys.
        state: ``running`` also after a kill, until the same command takes it up again.
        loss: what it is judged by, nats per supervised token; of a pruned one the last that was measured.
        measured: in the order of the steps.
        reason: why it was pruned or failed.
        started: when it was begun, or taken up again.
        seconds: that it trained, over all times it was taken up.
        checkpoints: the folder that its training saves itself to; empty where there is none, or none any more.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int
    values: dict[str, JsonValue]
    state: State = "running"
    loss: float | None = None
    measured: tuple[Measurement, ...] = ()
    reason: str = ""
    started: datetime
    ended: datetime | None = None
    seconds: float = 0.0
    checkpoints: str = ""


def best_of(trials: list[Trial]) -> Trial | None:
    """The complete trial with the lowest loss, the earlier one of two; None if none is complete."""
    complete = [trial for trial in trials if trial.state == "complete" and trial.loss is not None]
    return min(complete, key=lambda trial: (trial.loss, trial.number), default=None)
