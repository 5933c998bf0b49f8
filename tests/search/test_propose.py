"""What is tried next."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.search.searches import a_search, a_trial, loss_of
from tuneline.config import Config
from tuneline.config.candidate import with_values
from tuneline.search.propose import propose
from tuneline.search.trial import Trial, best_of


def run_all(config: Config, count: int, wave: int = 1) -> list[Trial]:
    """A whole search whose losses a formula knows."""
    trials: list[Trial] = []
    for begin in range(0, count, wave):
        numbers = list(range(begin, begin + wave))
        proposed = [propose(config, trials, number, numbers) for number in numbers]
        for number, values in zip(numbers, proposed, strict=True):
            loss = loss_of(values["training.learning_rate"], values["training.r"])
            trials.append(a_trial(number, [loss], **values))
    return trials


def test_the_first_trial_is_the_config_as_it_stands(tmp_path: Path) -> None:
    config = a_search(tmp_path)
    assert propose(config, [], 0, [0]) == {"training.learning_rate": 1e-3, "training.r": 16}


@pytest.mark.parametrize("own", ["training.learning_rate=0.5", "training.r=2"])
def test_a_config_outside_of_what_is_searched_is_not_tried(tmp_path: Path, own: str) -> None:
    config = a_search(tmp_path, overrides=[own])
    values = propose(config, [], 0, [0])
    assert 1e-4 <= values["training.learning_rate"] <= 1e-1 and values["training.r"] in (4, 8, 16)


def test_proposals_are_valid_configs_with_numbers_a_person_can_type(tmp_path: Path) -> None:
    config = a_search(tmp_path)
    for trial in run_all(config, 12):
        assert float(f"{trial.values['training.learning_rate']:.3g}") == trial.values["training.learning_rate"]
        assert with_values(config, trial.values).training.r == trial.values["training.r"]


def test_results_lead_to_better_proposals(tmp_path: Path) -> None:
    trials = run_all(a_search(tmp_path, overrides=["search.trials=40"]), 40)
    best = best_of(trials)
    assert best is not None and best.loss is not None and best.loss < 1.05
    losses = [trial.loss or 0 for trial in trials]
    assert sum(losses[-10:]) < sum(losses[:10])


def test_every_trial_of_a_wave_works_out_the_same_on_any_machine(tmp_path: Path) -> None:
    config = a_search(tmp_path)
    before = run_all(config, 8)
    alone = [propose(config, before, number, [8, 9, 10]) for number in (8, 9, 10)]
    assert len({json.dumps(values) for values in alone}) == 3
    # The first one is through, the second one trains: neither changes what the third one is.
    seen = [*before, a_trial(8, [0.5], **alone[0]), a_trial(9, state="running", **alone[1])]
    assert propose(config, seen, 10, [8, 9, 10]) == alone[2]
    assert propose(config, seen, 9, [8, 9, 10]) == alone[1]


def test_nothing_is_tried_twice_while_something_is_left(tmp_path: Path) -> None:
    parameters = "training.r: {choices: [4, 8, 16]}, training.use_rslora: {choices: [true, false]}, "
    parameters += "training.warmup_ratio: {low: 0, high: 0.1, step: 0.1}"
    config, trials = a_search(tmp_path, parameters), []
    for number in range(12):
        values = propose(config, trials, number, [number])
        trials.append(a_trial(number, [2.0 - number / 100]).model_copy(update={"values": values}))
    assert len({json.dumps(trial.values) for trial in trials}) == 12


def test_lists_and_templates_can_be_chosen(tmp_path: Path) -> None:
    paths = "[configs/prompts/plain.yaml, configs/prompts/assistant.yaml]"
    parameters = f"training.target_modules: {{choices: [all-linear, [q_proj, v_proj]]}}, prompt: {{choices: {paths}}}"
    config = a_search(tmp_path, parameters, overrides=["search.trials=4"])
    tried = []
    for number in range(4):
        values = propose(config, tried, number, [number])
        tried.append(a_trial(number, [1.0]).model_copy(update={"values": values}))
    made = {
        (with_values(config, t.values).training.target_modules, with_values(config, t.values).prompt.name)
        for t in tried
    }
    assert made == {
        (modules, name) for modules in ("all-linear", ("q_proj", "v_proj")) for name in ("plain", "assistant")
    }
