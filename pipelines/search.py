"""Hyperparameter search: waves of trials, each a step of its own, and a choice."""

from zenml import pipeline
from zenml.enums import ExecutionMode

from steps.data.load_data import load_data
from steps.search.begin import begin_search
from steps.search.choose import choose_best
from steps.search.trial import trial
from tuneline.config import Config


@pipeline(name="search", execution_mode=ExecutionMode.FAIL_FAST)
def search_pipeline(config: Config, key: str, waves: list[list[int]]) -> None:
    """Load, begin, train wave after wave, choose. An orchestrator that can runs a wave's trials at the same time."""
    training_set, _, _ = load_data(config.data, config.evaluation, config.gate)
    parent = begin_search(config, key)
    before = ["load_data", "begin_search"]
    for wave in waves:
        names = [trial_step(number) for number in wave]
        for name, number in zip(names, wave, strict=True):
            trial(training_set, parent, config, key, number, wave, id=name, after=before)
        before = names
    choose_best(parent, config, key, after=before)


def trial_step(number: int) -> str:
    """The name of a trial's step."""
    return f"trial_{number}"
