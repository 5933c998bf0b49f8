"""One trial, from its proposal to its document: ended, given up, failed, killed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.search.searches import Trainings, a_search, a_trial
from tests.stacks.s3 import BUCKET, S3Server
from tuneline.config import Config
from tuneline.data.records import ChatRecord
from tuneline.errors import TunelineError, UserError
from tuneline.search import run_trial as module
from tuneline.search.run_trial import run_trial
from tuneline.search.store import TrialStore
from tuneline.search.trial import Trial
from tuneline.training.job import TrainingJob
from tuneline.training.train import train


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Trainings:
    stand_in = Trainings()
    monkeypatch.setattr(module, "train", stand_in)
    return stand_in


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return a_search(tmp_path, more="pruner: {warmup_share: 0.4, startup_trials: 2}")


@pytest.fixture
def store(tmp_path: Path) -> TrialStore:
    return TrialStore(str(tmp_path / "store"))


def ran(
    config: Config, store: TrialStore, number: int, records: Sequence[ChatRecord] = (), output: Path = Path("unused")
) -> Trial:
    def with_checkpoints(job: TrainingJob) -> TrainingJob:
        return replace(job, checkpoints=f"{store.folder}/checkpoints/{number:04d}")

    return run_trial(config, records, number, [number], store, output, with_checkpoints, print, lambda _: None)


def raising(error: BaseException) -> Any:
    def at_step() -> None:
        raise error

    return at_step


def test_a_trial_ends_with_the_loss_of_its_weights_and_is_not_done_again(
    config: Config, store: TrialStore, trainings: Trainings
) -> None:
    ended = ran(config, store, 0)
    assert (ended.state, ended.loss) == ("complete", pytest.approx(2.1))
    assert [moment.step for moment in ended.measured] == [5, 10, 15, 20]
    assert store.trials() == [ended] == [ran(config, store, 0)]
    assert trainings.begun == [1e-3]


def test_with_patience_the_best_measurement_counts(tmp_path: Path, store: TrialStore, trainings: Trainings) -> None:
    config = a_search(tmp_path, overrides=["search.validation.patience=2"])
    assert ran(config, store, 0).loss == pytest.approx(2.1)  # the stand-in's best_validation_loss


def test_a_trial_that_falls_behind_ends_early_and_leaves_no_checkpoints(
    config: Config, store: TrialStore, trainings: Trainings, tmp_path: Path
) -> None:
    for number in (1, 2):
        store.write(a_trial(number, [1.0, 0.9, 0.8, 0.7]))
    checkpoints = tmp_path / "store" / "checkpoints" / "0000"
    trainings.at[5] = lambda: checkpoints.mkdir(parents=True)
    ended = ran(config, store, 0)
    assert (ended.state, ended.reason) == ("pruned", "behind the median at step 10 of 20")
    assert trainings.steps == [5, 10]
    assert not checkpoints.exists() and ended.checkpoints == "" and store.trials()[0] == ended


def test_a_killed_trial_is_taken_up_again_with_its_values(
    config: Config, store: TrialStore, trainings: Trainings
) -> None:
    trainings.at[15] = raising(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        ran(config, store, 3)
    (left,) = store.trials()
    assert (left.state, [moment.step for moment in left.measured]) == ("running", [5, 10])
    store.write(a_trial(2, [0.1]))  # another result would have led to another proposal
    del trainings.at[15]
    ended = ran(config, store, 3)
    assert (ended.state, ended.values) == ("complete", left.values)
    assert [moment.step for moment in ended.measured] == [5, 10, 15, 20]
    assert trainings.begun[0] == trainings.begun[1]


def test_a_training_that_fails_ends_its_trial_alone(config: Config, store: TrialStore, trainings: Trainings) -> None:
    trainings.at[10] = raising(TunelineError("the loss is nan at step 10 of 20", hint="Lower it."))
    ended = ran(config, store, 0)
    assert (ended.state, ended.loss, ended.reason) == ("failed", None, "the loss is nan at step 10 of 20")


def test_what_no_trial_could_do_ends_the_search_and_what_one_could_does_not(
    config: Config, store: TrialStore, trainings: Trainings
) -> None:
    trainings.at[5] = raising(UserError("there is no memory for it"))
    with pytest.raises(UserError):
        ran(config, store, 0)
    assert store.trials()[0].state == "running"  # so the same command tries it again
    store.write(a_trial(1, [1.0]))
    assert ran(config, store, 0).state == "failed"


def test_a_loss_that_is_no_number_is_no_result(config: Config, store: TrialStore, monkeypatch: Any) -> None:
    monkeypatch.setattr("tests.search.searches.loss_of", lambda *_: float("nan"))
    monkeypatch.setattr(module, "train", Trainings())
    ended = ran(config, store, 0)
    assert (ended.state, ended.measured) == ("failed", ())


def test_a_real_training_ends_where_its_trial_falls_behind(
    config: Config, store: TrialStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through transformers' own loop, whose callbacks might have swallowed it."""
    steps = []

    def measured(job: Any) -> Any:
        see = job.on_progress

        def on_progress(moment: Any) -> None:
            steps.append(moment.step)
            see(moment.__class__(**{**moment.__dict__, "validation_loss": moment.loss}))

        return train(job.__class__(**{**job.__dict__, "on_progress": on_progress, "checkpoints": None}))

    monkeypatch.setattr(module, "train", measured)
    small = ["training.max_length=32", "training.batch_tokens=32", "training.micro_batch_tokens=32"]
    config = a_search(tmp_path, more="pruner: {warmup_share: 0.4, startup_trials: 2}", overrides=small)
    for number in (1, 2):
        store.write(a_trial(number, [0.1] * 20))
    messages = [{"role": "user", "content": "status?"}, {"role": "assistant", "content": "git status"}]
    records = [ChatRecord.model_validate({"id": str(n), "source": "git", "messages": messages}) for n in range(8)]
    ended = ran(config, store, 0, records, output=tmp_path / "output")
    assert (ended.state, ended.reason) == ("pruned", "behind the median at step 8 of 20")
    assert steps[-1] == 8
    assert not list((tmp_path / "output").glob("*"))


def test_a_bucket_remembers_like_a_disk(config: Config, s3_server: S3Server, trainings: Trainings) -> None:
    store = TrialStore(f"s3://{BUCKET}/search", s3_server.options())
    assert store.trials() == [] and store.note("chosen") == ""
    ended = ran(config, store, 0)
    store.keep_note("chosen", "0 of 1")
    again = TrialStore(store.folder, s3_server.options())
    assert (again.trials(), again.note("chosen")) == ([ended], "0 of 1")
    again.forget_checkpoints(ended)
    assert store.trials()[0].checkpoints == ""
    again.clear()
    assert store.trials() == []
