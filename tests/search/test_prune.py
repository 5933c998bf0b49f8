"""When a trial is given up."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.search.searches import a_search, a_trial
from tuneline.config import Config
from tuneline.search.prune import is_behind

OTHERS = [a_trial(number, [3.0 - number / 10, 2.0 - number / 10, 1.5, 1.0]) for number in range(4)]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return a_search(tmp_path, more="pruner: {warmup_share: 0.4, startup_trials: 4}")


def test_a_trial_above_the_median_is_behind_and_one_below_is_not(config: Config) -> None:
    assert is_behind(config, a_trial(9, [3.0, 2.5], state="running"), OTHERS)
    assert not is_behind(config, a_trial(9, [3.0, 1.7], state="running"), OTHERS)


def test_its_best_loss_counts_and_not_a_single_bad_moment(config: Config) -> None:
    assert not is_behind(config, a_trial(9, [1.0, 2.5], state="running"), OTHERS)


def test_nobody_is_behind_at_the_beginning_of_a_run_or_of_a_search(config: Config) -> None:
    assert not is_behind(config, a_trial(9, [99.0], state="running"), OTHERS)
    assert not is_behind(config, a_trial(9, [99.0, 99.0], state="running"), OTHERS[:3])
    assert not is_behind(config, a_trial(9, [99.0, 99.0, 99.0, 99.0], state="running"), OTHERS)  # it is through


def test_trials_that_train_now_and_trials_that_were_pruned_count(config: Config) -> None:
    last = a_trial(9, [9.0, 9.0], state="running")
    assert is_behind(config, last, [*OTHERS[:3], a_trial(3, [2.0, 1.0], state="running")])
    assert is_behind(config, last, [*OTHERS[:3], a_trial(3, [2.0, 1.0], state="pruned")])
    assert not is_behind(config, last, [*OTHERS[:3], a_trial(3, [2.0], state="pruned")])


def test_runs_of_other_lengths_are_compared_at_equal_shares(config: Config) -> None:
    assert is_behind(config, a_trial(9, [3.0, 2.5], state="running", steps=400), OTHERS)


def test_without_a_pruner_nobody_is_behind(tmp_path: Path) -> None:
    config = a_search(tmp_path, more="pruner: none")
    assert not is_behind(config, a_trial(9, [99.0, 99.0], state="running"), OTHERS)
