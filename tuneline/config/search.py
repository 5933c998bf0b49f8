"""Section ``search``: which values of this config are tried, and how many trainings that may cost."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, JsonValue

from tuneline.config.section import Section
from tuneline.config.training_parts import ValidationConfig


class ParameterConfig(Section):
    """What one key of the config may be: a range, or choices."""

    low: int | float | None = None
    """Least value of a range."""

    high: int | float | None = None
    """Greatest value of a range, tried too."""

    log: bool = False
    """Try as many values between 1e-5 and 1e-4 as between 1e-4 and 1e-3: right for learning rates."""

    step: int | float | None = Field(default=None, gt=0)
    """Distance between the values of a range; left out, any value of it."""

    choices: tuple[JsonValue, ...] | None = None
    """The values themselves, whatever the key takes; for ``prompt`` the paths of templates too."""

    @property
    def ends(self) -> tuple[tuple[str | int, ...], ...]:
        """Where the values stand that every other one lies between, or that are all there is."""
        if self.choices is not None:
            return tuple(("choices", index) for index in range(len(self.choices)))
        return (("low",), ("high",))

    def at(self, end: tuple[str | int, ...]) -> Any:
        """The value that stands at one of ``ends``."""
        return getattr(self, str(end[0])) if len(end) == 1 else (self.choices or ())[int(end[1])]


class PrunerConfig(Section):
    """When a trial is given up: its loss is above the median of the others' at the same share of their runs."""

    warmup_share: float = Field(default=0.25, ge=0, lt=1)
    """Share of a run before which no trial is given up."""

    startup_trials: int = Field(default=4, gt=0)
    """How many other trials must have been measured at that share before one is given up."""


class SearchConfig(Section):
    """Values of the config that are found by trying: TPE (Optuna) proposes, the validation loss decides."""

    trials: int = Field(gt=0, le=1000)
    """How many trainings. Raised later, the search goes on where it ended."""

    metric: Literal["validation_loss"] = "validation_loss"
    """What is minimised: nats per supervised token on records that were kept back from training."""

    validation: ValidationConfig | None = None
    """Records kept back and how often the loss is measured, for all trials; left out, ``training.validation``."""

    parameters: dict[str, ParameterConfig] = Field(min_length=1)
    """By the key's name as ``--set`` takes it, such as ``training.learning_rate``."""

    pruner: PrunerConfig | Literal["none"] = PrunerConfig()
    """When a trial is given up; ``none`` lets every trial train to its end."""

    parallel: int = Field(default=1, gt=0)
    """Trials that are proposed together and may run at once, if the orchestrator can. A wave knows the results of
    the waves before it alone, so fewer at once choose better."""

    seed: int = 0
    """Of what is proposed."""


def place_value(values: Any, key: str, value: Any) -> None:
    """Set a value in a config's plain values, by the key as ``--set`` takes it; list items go by index.

    Raises:
        LookupError: a list on the way has no such item.
    """
    *above, last = [int(part) if part.isdecimal() else part for part in key.split(".")]
    for part in above:
        if isinstance(values, dict) and values.get(part) is None:
            values[part] = {}
        values = values[part]
    if isinstance(values, list) and not (isinstance(last, int) and last < len(values)):
        raise LookupError(key)
    values[last] = value


def value_at(values: Any, key: str) -> Any:
    """The value that ``place_value`` would replace; None where there is none."""
    for part in key.split("."):
        if isinstance(values, dict):
            values = values.get(part)
        elif isinstance(values, list) and part.isdecimal() and int(part) < len(values):
            values = values[int(part)]
        else:
            return None
    return values
