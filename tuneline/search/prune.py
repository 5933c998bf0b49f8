"""Giving up a trial that has fallen behind, while it trains."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.pruners import MedianPruner
from optuna.trial import TrialState

from tuneline.config import Config
from tuneline.config.candidate import searched
from tuneline.search.study import frozen, study_of
from tuneline.search.trial import Trial


class Pruned(Exception):
    """Ends a training from within; nothing is wrong with it."""


def is_behind(config: Config, trial: Trial, others: Sequence[Trial]) -> bool:
    """Whether the best loss of a trial is above the median of the others' at the share of the run that it has reached.

    Every other trial that was measured at that share counts, also those that train now on other machines and those
    that were pruned later: leaving the pruned ones out would raise the bar with every one of them.
    """
    pruner = searched(config).pruner
    if pruner == "none" or not trial.measured:
        return False
    last = trial.measured[-1]
    if last.step >= last.steps:
        return False  # it is through
    median = MedianPruner(
        n_startup_trials=pruner.startup_trials,
        n_min_trials=pruner.startup_trials,
        n_warmup_steps=round(100 * pruner.warmup_share),
    )
    # MedianPruner looks at complete trials alone.
    reached = [
        frozen(config, other.model_copy(update={"loss": other.measured[-1].loss}), TrialState.COMPLETE)
        for other in others
        if other.number != trial.number and other.measured
    ]
    return bool(median.prune(study_of(reached), frozen(config, trial)))
