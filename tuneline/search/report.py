"""What a search found: all its trials, the best of them, and which keys mattered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import optuna
from pydantic import BaseModel, ConfigDict, JsonValue

from tuneline.config import Config
from tuneline.config.candidate import searched, value_of
from tuneline.search.study import frozen, study_of
from tuneline.search.trial import Trial, best_of

# Below that many complete trials a ranking of the keys is noise.
_ENOUGH_TRIALS = 5


class SearchedKey(BaseModel):
    """A key that was searched.

    Attributes:
        own: what the config says without the search.
        log: whether it is a range that counts in powers.
        low, high: of a range.
        choices: instead of a range.
        importance: share of the best results' advantage that goes with this key, 0 to 1 (PED-ANOVA,
            arXiv:2304.10255); None while there are too few trials.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    own: JsonValue = None
    log: bool = False
    low: float | None = None
    high: float | None = None
    choices: tuple[JsonValue, ...] | None = None
    importance: float | None = None


class SearchReport(BaseModel):
    """A search as it stands.

    Attributes:
        name: the experiment.
        wanted: how many trials it is to have.
        best: number of the complete trial with the lowest loss.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    wanted: int
    keys: tuple[SearchedKey, ...]
    trials: tuple[Trial, ...]
    best: int | None

    @property
    def best_trial(self) -> Trial | None:
        """The trial with the lowest loss."""
        return next((trial for trial in self.trials if trial.number == self.best), None)


def report_of(config: Config, trials: Sequence[Trial]) -> SearchReport:
    """Sum a search up."""
    search, mattered, best = searched(config), _importance(config, trials), best_of(list(trials))
    keys = tuple(
        SearchedKey(
            key=key,
            own=value_of(config, key),
            log=parameter.log,
            low=parameter.low,
            high=parameter.high,
            choices=parameter.choices,
            importance=mattered.get(key),
        )
        for key, parameter in search.parameters.items()
    )
    number = None if best is None else best.number
    return SearchReport(name=config.name, wanted=search.trials, keys=keys, trials=tuple(trials), best=number)


def remaining_seconds(trials: Sequence[Trial], wanted: int) -> float:
    """Time to the end at the pace so far. Trials that trained at the same time count once; pauses do not count.

    Args:
        trials: of which one at least has ended.
        wanted: how many there are to be.
    """
    ended = [trial for trial in trials if trial.ended is not None]
    busy, until = 0.0, None
    for begin, end in sorted((trial.started, trial.ended) for trial in ended if trial.ended is not None):
        start: datetime = begin if until is None else max(begin, until)
        busy += max(0.0, (end - start).total_seconds())
        until = end if until is None else max(end, until)
    return busy / len(ended) * (wanted - len(ended))


def shown_value(value: Any) -> str:
    """A value as a table has it, and as ``--set`` takes it."""
    if isinstance(value, dict) and "name" in value:
        return str(value["name"])  # a prompt template
    return value if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else json.dumps(value)


def short_names(keys: Sequence[str]) -> list[str]:
    """The keys without their sections, where that leaves them different."""
    last = [key.rsplit(".", 1)[-1] for key in keys]
    return [name if last.count(name) == 1 else key for name, key in zip(last, keys, strict=True)]


def _importance(config: Config, trials: Sequence[Trial]) -> dict[str, float]:
    complete = [trial for trial in trials if trial.state == "complete"]
    if len(complete) < _ENOUGH_TRIALS or len(searched(config).parameters) < 2:
        return {}
    if len({trial.loss for trial in complete}) < 2:
        return {}
    study = study_of(frozen(config, trial) for trial in complete)
    return dict(optuna.importance.get_param_importances(study))
