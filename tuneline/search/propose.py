"""What is tried next: the config's own values first, then what TPE (arXiv:2304.11127) makes of the results so far.

A proposal depends on the config, its number and the finished trials alone. So every trial of a wave works out its own,
on whatever machine it runs, and all come to the same.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from tuneline.config import Config
from tuneline.config.candidate import searched, value_of
from tuneline.config.search_checks import combinations
from tuneline.search.study import distributions, frozen, study_of, to_optuna
from tuneline.search.trial import Trial

# Before TPE has that many results, it draws at random; its own 10 would be most of a small search.
_MOST_RANDOM = 10
_TRIES = 20
# Nobody reads, or types again, more digits of a learning rate.
_DIGITS = 3


def propose(config: Config, trials: Sequence[Trial], number: int, wave: Sequence[int]) -> dict[str, Any]:
    """The values of one trial.

    Args:
        config: with a section ``search``.
        trials: all that were begun.
        number: of the trial.
        wave: the numbers that are proposed together with it, itself among them.

    Returns:
        A value for each searched key, unlike every other trial's while there are others left.
    """
    begun = {trial.number: trial for trial in trials}
    if number in begun:
        return dict(begun[number].values)
    # A sibling's result counts for nobody in the wave, or proposals would depend on who is faster.
    known = [frozen(config, trial) for trial in trials if trial.number not in wave and trial.ended is not None]
    seen = [trial.values for trial in trials if trial.number not in wave]
    for sibling in sorted(wave):
        values = begun[sibling].values if sibling in begun else _ask(config, known, seen, sibling)
        if sibling == number:
            return values
        known.append(_running(config, values))
        seen.append(values)
    raise ValueError(f"trial {number} is not in its wave {list(wave)}")


def _ask(config: Config, known: list[FrozenTrial], seen: list[dict[str, Any]], number: int) -> dict[str, Any]:
    search, own = searched(config), _own_values(config)
    if number == 0 and own is not None:
        return own
    draw = random.Random(f"{search.seed} {number}")
    startup = min(_MOST_RANDOM, 2 + 2 * len(search.parameters))
    sampler = TPESampler(seed=draw.getrandbits(32), n_startup_trials=startup, multivariate=True)
    study, there = study_of(known, sampler), {_text(values) for values in seen}
    values: dict[str, Any] = {}
    for _ in range(_TRIES):
        params = study.ask(distributions(config)).params
        values = {key: _readable(config, key, params[key]) for key in search.parameters}
        if _text(values) not in there:
            return values
    if combinations(search) <= 100 * search.trials:  # few enough to look for one that is left
        left = [values for values in _all(config) if _text(values) not in there]
        return draw.choice(left) if left else values
    return values


def _own_values(config: Config) -> dict[str, Any] | None:
    """The values that the config has without a search; None if one of them is outside of what is searched."""
    values: dict[str, Any] = {key: value_of(config, key) for key in searched(config).parameters}
    if any(value is None and searched(config).parameters[key].choices is None for key, value in values.items()):
        return None
    try:
        _running(config, values)
    except ValueError:  # Optuna's word for a value that is not in its distribution
        return None
    return values


def _readable(config: Config, key: str, value: Any) -> Any:
    """A proposed value as the config has it: choices as they were given, numbers with few digits."""
    parameter = searched(config).parameters[key]
    if parameter.choices is not None:
        return json.loads(value)
    if isinstance(value, float):
        short = float(f"{value:.{_DIGITS}g}" if parameter.step is None else f"{value:.10g}")
        return min(max(short, float(parameter.low or 0)), float(parameter.high or 0))
    return value


def _running(config: Config, values: dict[str, Any]) -> FrozenTrial:
    params = to_optuna(searched(config).parameters, values)
    return create_trial(state=TrialState.RUNNING, params=params, distributions=distributions(config))


def _all(config: Config) -> list[dict[str, Any]]:
    """Every combination of a search that has finitely many."""
    allowed = distributions(config)
    columns = [[_readable(config, key, value) for value in _grid(allowed[key])] for key in allowed]
    return [dict(zip(allowed, row, strict=True)) for row in itertools.product(*columns)]


def _grid(distribution: BaseDistribution) -> list[Any]:
    match distribution:
        case CategoricalDistribution():
            return list(distribution.choices)
        case IntDistribution():
            return list(range(distribution.low, distribution.high + 1, distribution.step))
        case FloatDistribution(step=float() as step):
            count = int((distribution.high - distribution.low) / step + 1e-9) + 1
            return [distribution.low + index * step for index in range(count)]
    raise ValueError(f"{distribution} has no end of values")


def _text(values: dict[str, Any]) -> str:
    return json.dumps(values, sort_keys=True)
