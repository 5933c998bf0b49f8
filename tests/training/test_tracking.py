"""MLflow gets all of a training and nothing of the machine; while it is away the training goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pandas
import pytest
from mlflow import MlflowClient

from steps.training import tracking as module
from steps.training.mlflow_model import log_adapter
from steps.training.report import conclude, describe
from steps.training.tracking import Tracking
from tests.training.random_base import make_random_base
from tuneline import paths
from tuneline.config import load_config
from tuneline.data.dataset import ChatDataset
from tuneline.data.synthetic import generate_records
from tuneline.training.curve import curve_svg
from tuneline.training.job import TrainingJob
from tuneline.training.origin import origin
from tuneline.training.progress import Progress
from tuneline.training.train import train


@pytest.fixture
def run_id(tmp_path: Path) -> Iterator[str]:
    """A run in an MLflow of its own."""
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = mlflow.create_experiment("test", artifact_location=str(tmp_path / "artifacts"))
    yield mlflow.start_run(experiment_id=experiment).info.run_id
    mlflow.end_run()
    mlflow.set_tracking_uri("")


def moment(step: int, **changed: Any) -> Progress:
    given = {"loss": 2.0 / step, "learning_rate": 1e-3, "grad_norm": 1.0, "tokens_per_second": 50.0, "seconds": 1.0}
    return Progress(step=step, steps=10, **(given | changed))


def test_a_training_is_in_mlflow_and_loads_from_there(run_id: str, tmp_path: Path) -> None:
    base = make_random_base(tmp_path / "secret place" / "a-base")
    settings = ["max_steps=4", "batch_tokens=512", "micro_batch_tokens=512", "max_length=256"]
    config = load_config(
        paths.CONFIGS / "tiny.yaml",
        [f"model.base={base}", *(f"training.{text}" for text in settings), "training.validation={share: 0.3}"],
    )
    records = ChatDataset(records=list(generate_records(("kubectl",), 40, seed=1)))
    came_from = origin(records, config.model, config.training, config.prompt, "0" * 64)
    folder = tmp_path / "adapter"
    with Tracking(print) as tracking:
        describe(tracking, came_from, records, "the run")
        job = TrainingJob(
            records.records, config.model, config.training, config.prompt, folder, on_progress=tracking.moment
        )
        outcome = train(job)
        (folder / "curve.svg").write_text(curve_svg(outcome.adapter.curve))
        conclude(tracking, outcome.run, folder)
        tracking.send(lambda: log_adapter(outcome.adapter, config.model, config.prompt))
    assert not tracking.waiting

    client = MlflowClient()
    run = client.get_run(run_id)
    for metric in ("loss", "learning_rate", "grad_norm", "tokens_per_second", "memory_gib", "validation_loss"):
        assert [point.step for point in client.get_metric_history(run_id, metric)][:4] == [1, 2, 3, 4], metric
    assert run.data.params["model.base"] == "a-base"
    assert run.data.params["training.validation.share"] == "0.3"
    assert run.data.params["data.fingerprint"] == records.fingerprint()
    assert run.data.tags["environment.git_commit"]
    (data,) = run.inputs.dataset_inputs
    assert records.fingerprint().startswith(data.dataset.digest)
    (model,) = client.search_logged_models(experiment_ids=[run.info.experiment_id])

    files = [file for file in (tmp_path / "artifacts").rglob("*") if file.is_file()]
    assert {"config.yaml", "environment.json", "curve.svg", "MLmodel"} <= {file.name for file in files}
    assert not [file for file in files if file.suffix in (".pkl", ".pickle", ".bin")]
    told = json.dumps([run.data.params, run.data.tags, data.dataset.source], default=str)
    contents = "".join(file.read_text() for file in files if file.suffix != ".safetensors")
    assert "secret place" not in told + contents and str(paths.REPO) not in told + contents

    loaded = mlflow.pyfunc.load_model(model.model_uri, model_config={"base": str(base)})
    (answer,) = loaded.predict(pandas.DataFrame({"question": ["list the pods"]}), params={"max_new_tokens": 5})
    assert isinstance(answer, str)
    assert loaded.metadata.signature.inputs.input_names() == ["question"]


def test_an_mlflow_that_is_away_delays_reports_and_stops_nothing(run_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    tracking = Tracking(said.append)
    tracking.moment(moment(1))
    real, now = mlflow.log_metrics, [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    def away(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route to MLflow")

    monkeypatch.setattr(mlflow, "log_metrics", away)
    for step in (2, 3):
        tracking.moment(moment(step))
        now[0] += 31
    assert len(said) == 1 and "MLflow is away" in said[0] and "no route to MLflow" in said[0]
    monkeypatch.setattr(mlflow, "log_metrics", real)
    tracking.moment(moment(4))  # too early: the pause has doubled
    assert len(tracking.waiting) == 3
    now[0] += 61
    tracking.moment(moment(5))
    assert not tracking.waiting and "MLflow is back" in said[1]
    assert [point.step for point in MlflowClient().get_metric_history(run_id, "loss")] == [1, 2, 3, 4, 5]


def test_an_mlflow_that_stays_away_costs_the_reports_and_not_the_training(
    run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    with monkeypatch.context() as patch:
        for call in ("log_batch", "set_terminated"):
            patch.setattr(MlflowClient, call, lambda *_, **__: (_ for _ in ()).throw(ConnectionError("gone")))
        with Tracking(said.append) as tracking:
            tracking.moment(moment(1))
        assert mlflow.active_run() is None  # else ZenML would end it after the step, and fail
    assert "1 reports are lost" in said[1]


def test_what_mlflow_refuses_is_said_and_left_out(run_id: str) -> None:
    said: list[str] = []
    tracking = Tracking(said.append)
    tracking.send(lambda: mlflow.log_param("a", "1"))
    tracking.send(lambda: mlflow.log_param("a", "2"))  # a parameter's value cannot change
    tracking.moment(moment(1))
    assert len(said) == 1 and "refuses" in said[0]
    assert [point.step for point in MlflowClient().get_metric_history(run_id, "loss")] == [1]
