"""A small search, and trainings that need no model: a loss that a formula knows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tuneline.config import Config, load_config
from tuneline.search.trial import Measurement, Trial
from tuneline.training.job import TrainingJob
from tuneline.training.progress import Progress

PARAMETERS = "training.learning_rate: {low: 1e-4, high: 1e-1, log: true}, training.r: {choices: [4, 8, 16]}"
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)


def a_search(folder: Path, parameters: str = PARAMETERS, more: str = "", overrides: Sequence[str] = ()) -> Config:
    """A config with a search of 12 trials."""
    (folder / "my.yaml").write_text(f"""\
name: assistant
model: {{base: assets/tiny-base}}
data:
  sources: [{{type: synthetic, tools: [git], size: 100}}]
  evaluation: {{holdout: 60}}
training: {{max_steps: 20, learning_rate: 1e-3}}
search:
  trials: 12
  validation: {{share: 0.1}}
  parameters: {{{parameters}}}
  {more}
""")
    return load_config(folder / "my.yaml", overrides)


def loss_of(learning_rate: float, r: int) -> float:
    """Least, 1, at a learning rate of 1e-2 and rank 8."""
    return 1 + (math.log10(learning_rate) + 2) ** 2 + abs(math.log2(r) - 3) / 10


def a_trial(
    number: int, losses: Sequence[float] = (), *, state: str = "complete", steps: int = 20, **values: Any
) -> Trial:
    """A trial that was measured at equal distances; a complete one to its end."""
    values = {"training.learning_rate": 1e-3 * (number + 1), "training.r": 8} | values
    count = len(losses) if state == "complete" else 4
    measured = tuple(
        Measurement(step=steps * (index + 1) // count, steps=steps, loss=loss) for index, loss in enumerate(losses)
    )
    begun = BEGUN + timedelta(minutes=number)
    ended = None if state == "running" else begun + timedelta(minutes=1)
    loss = losses[-1] if losses and state in ("complete", "pruned") else None
    return Trial.model_validate(
        {"number": number, "values": values, "state": state, "loss": loss, "measured": measured}
        | {"started": begun, "ended": ended, "seconds": 60.0}
    )


class Trainings:
    """Stands for ``train``: four measurements, the last of which is ``loss_of``.

    Attributes:
        begun: learning rates of all that began.
        steps: at which something was measured.
        at: what happens at the given step.
    """

    def __init__(self) -> None:
        self.begun: list[float] = []
        self.steps: list[int] = []
        self.at: dict[int, Callable[[], None]] = {}

    def __call__(self, job: TrainingJob) -> Any:
        training = job.training
        assert training.validation is not None
        self.begun.append(training.learning_rate)
        end, curve = loss_of(training.learning_rate, training.r), []
        for step in (5, 10, 15, 20):
            self.at.get(step, lambda: None)()
            self.steps.append(step)
            curve.append(Progress(step, 20, end, 1e-3, 1.0, 100.0, 1.0, validation_loss=end + (20 - step) / 10))
            job.on_progress(curve[-1])
        return SimpleNamespace(curve=tuple(curve), run=SimpleNamespace(best_validation_loss=end))
