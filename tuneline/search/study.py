"""From trials to an Optuna study in memory: the same documents always make the same study."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState, create_trial

from tuneline.config import Config
from tuneline.config.candidate import is_whole, searched
from tuneline.config.search import ParameterConfig
from tuneline.search.trial import Trial

optuna.logging.set_verbosity(optuna.logging.WARNING)

Distributions = dict[str, BaseDistribution]
_STATES = {
    "running": TrialState.RUNNING,
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


def distributions(config: Config) -> Distributions:
    """What each searched key may be, in Optuna's terms. Choices are texts there, since it knows no lists."""
    found: Distributions = {}
    for key, parameter in searched(config).parameters.items():
        low, high, step = parameter.low, parameter.high, parameter.step
        if parameter.choices is not None:
            found[key] = CategoricalDistribution(tuple(map(label, parameter.choices)))
        elif is_whole(config, key):
            found[key] = IntDistribution(int(low or 0), int(high or 0), log=parameter.log, step=int(step or 1))
        else:
            found[key] = FloatDistribution(float(low or 0), float(high or 0), log=parameter.log, step=step)
    return found


def label(choice: Any) -> str:
    """A choice as a text."""
    return json.dumps(choice, sort_keys=True)


def to_optuna(parameters: dict[str, ParameterConfig], values: dict[str, Any]) -> dict[str, Any]:
    """Values of the config as Optuna holds them."""
    return {key: label(values[key]) if parameter.choices else values[key] for key, parameter in parameters.items()}


def frozen(config: Config, trial: Trial, state: TrialState | None = None) -> FrozenTrial:
    """A trial as Optuna sees it; its steps are percents of the run.

    Args:
        state: instead of its own.
    """
    state = _STATES[trial.state] if state is None else state
    return create_trial(
        state=state,
        value=trial.loss if state == TrialState.COMPLETE else None,
        params=to_optuna(searched(config).parameters, trial.values),
        distributions=distributions(config),
        intermediate_values={moment.percent: moment.loss for moment in trial.measured},
    )


def study_of(trials: Iterable[FrozenTrial], sampler: optuna.samplers.BaseSampler | None = None) -> optuna.Study:
    """A study that minimises, with these trials in it."""
    study = optuna.create_study(direction="minimize", sampler=sampler)
    study.add_trials(trials)
    return study
