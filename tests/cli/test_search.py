"""``run.py search`` on a real stack with ZenML and MLflow; the trainings are a formula."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import cli.search
from tests.cli.conftest import Run
from tests.search.searches import Trainings, a_search
from tuneline.config import Config, load_config
from tuneline.search import run_trial as module

if TYPE_CHECKING:
    from zenml.client import Client

pytestmark = pytest.mark.zenml


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Trainings:
    stand_in = Trainings()
    monkeypatch.setattr(module, "train", stand_in)
    return stand_in


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """The configs that would have been trained and put before the gate."""
    configs: list[Config] = []
    monkeypatch.setattr(cli.search, "train_and_judge", lambda config, no_cache: configs.append(config))
    return configs


@pytest.fixture
def search(zenml_client: Client, tmp_path: Path, run: Run) -> Run:
    """Run the command on a small search."""
    a_search(tmp_path)
    return lambda *options: run("search", "--config", str(tmp_path / "my.yaml"), *options)


def test_a_killed_search_goes_on_and_its_best_config_meets_the_gate(
    search: Run, trainings: Trainings, judged: list[Config], zenml_client: Client
) -> None:
    def killed() -> None:
        if len(trainings.begun) == 3:
            raise KeyboardInterrupt

    wanted = ("--set", "search.trials=5", "--set", "search.parallel=2", "--set", "search.pruner=none")
    trainings.at[10] = killed
    assert search(*wanted, "--only-search").code == 130 and len(trainings.begun) == 3

    del trainings.at[10]
    ended = search(*wanted, "--json")
    document = json.loads(ended.out)
    assert ended.code == 0
    assert len(trainings.begun) == 6  # five, and one of them twice
    assert trainings.begun[3] == trainings.begun[2]
    assert [trial["state"] for trial in document["trials"]] == ["complete"] * 5
    best = min(document["trials"], key=lambda trial: trial["loss"])
    assert document["best"]["trial"] == best["number"]
    (config,) = judged
    assert config == load_config(document["config"])
    assert config.training.learning_rate == best["values"]["training.learning_rate"]
    assert config.search is None and config.training.validation is not None

    _runs_are_nested(best["number"])
    _the_artifact_is_there(zenml_client)

    assert "was done before" in search(*wanted).out and len(trainings.begun) == 6
    more = search(*wanted, "--set", "search.trials=6", "--only-search", "--json")
    assert more.code == 0 and len(trainings.begun) == 7 and len(json.loads(more.out)["trials"]) == 6
    assert len(judged) == 2


def _runs_are_nested(best: int) -> None:
    import mlflow
    from zenml.enums import StackComponentType

    from stacks.active import active_component

    tracker: Any = active_component(StackComponentType.EXPERIMENT_TRACKER)
    tracker.configure_mlflow()
    runs = mlflow.MlflowClient().search_runs([e.experiment_id for e in mlflow.search_experiments()])
    (parent,) = [run for run in runs if str(run.info.run_name).startswith("search ")]
    nested = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert {f"trial {number}" for number in range(5)} < {run.info.run_name for run in nested}
    assert parent.data.tags["tuneline.best_trial"] == str(best)
    assert parent.data.metrics["best_validation_loss"] > 0
    (chosen,) = [run for run in nested if run.info.run_name == f"trial {best}" and "trial_loss" in run.data.metrics]
    assert chosen.data.metrics["trial_loss"] == parent.data.metrics["best_validation_loss"]
    assert "training.learning_rate" in chosen.data.params
    assert len(mlflow.MlflowClient().get_metric_history(chosen.info.run_id, "validation_loss")) == 4


def _the_artifact_is_there(client: Client) -> None:
    report = client.get_artifact_version("search_report")
    assert len(report.load().trials) == 5
    assert report.visualizations
    assert "Loss by trial" in Path(report.visualizations[0].uri).read_text()


def test_a_config_without_a_search_is_told_where_there_is_one(refused: Callable[..., str]) -> None:
    said = refused("search", "--config", "configs/tiny.yaml")
    assert "configs/tiny.yaml has no section search" in said and "configs/tiny-search.yaml has one" in said
