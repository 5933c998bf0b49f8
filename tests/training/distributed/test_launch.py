"""What one of several processes tells arrives as it was said, and what fails in one is tried again by all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.training.tiny_job import tiny_job
from tuneline.errors import TunelineError, UserError
from tuneline.training.distributed import launch
from tuneline.training.distributed.handover import hand_over, take_over
from tuneline.training.distributed.messages import Message, Reporter
from tuneline.training.durable.faults import LossFault
from tuneline.training.durable.memory import OutOfMemory
from tuneline.training.durable.start import Start
from tuneline.training.durable.store import CheckpointStore
from tuneline.training.job import TrainingJob
from tuneline.training.progress import Progress

TWO: dict[str, Any] = {"distributed": {"processes": 2}}


def test_moments_and_errors_come_out_of_the_pipe_as_they_went_in() -> None:
    reading, writing = os.pipe()
    reporter = Reporter(writing)
    moment = Progress(1, 9, 2.5, 1e-3, 0.7, 100.0, 3.0, validation_loss=2.25)
    reporter.progress(moment)
    reporter.error(LossFault("the loss is nan at step 3", hint="Look."))
    reporter.error(ValueError("shapes"))
    progress, fault, other = (Message.parse(line) for line in os.read(reading, 65536).splitlines())
    os.close(reading)
    assert progress.progress() == moment
    assert isinstance(fault.error(), LossFault) and fault.error().hint == "Look."
    assert type(other.error()) is TunelineError and other.error().what == "ValueError: shapes"


def test_a_job_is_handed_over_whole_and_its_credentials_touch_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"secret": "not-for-files"}
    job = tiny_job(tmp_path, tmp_path / "out", training=TWO, checkpoints="memory://c", storage_options=options)
    handover = hand_over(job, Start(tmp_path, CheckpointStore("memory://c", {}, "abc"), step=7, cut=2))
    assert not any("not-for-files" in path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    for name, value in handover.environment.items():
        monkeypatch.setenv(name, value)
    taken, start = take_over(handover.file, job.on_progress, job.say)
    assert taken == job
    assert (start.step, start.cut, start.store and start.store.job) == (7, 2, "abc")
    assert "not-for-files" not in str(os.environ), "what the process starts does not inherit it"


def test_memory_that_runs_out_in_one_process_lets_all_begin_again_with_smaller_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuts: list[int] = []

    def run(job: TrainingJob, start: Start) -> None:
        cuts.append(start.cut)
        if start.cut < 4:
            raise OutOfMemory("CUDA out of memory")

    monkeypatch.setattr(launch, "_run", run)
    monkeypatch.setattr(launch, "read_outcome", lambda folder: folder)
    said: list[str] = []
    job = tiny_job(tmp_path, tmp_path / "out", training=TWO, say=said.append)
    assert launch.train_in_processes(job, Start(tmp_path, None)) == job.output
    assert cuts == [1, 2, 4] and "micro-batches of 64 tokens" in said[-1]


def test_a_model_cannot_be_sharded_without_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    job = tiny_job(tmp_path, tmp_path / "out", training={"distributed": {"processes": 2, "strategy": "fsdp"}})
    with pytest.raises(UserError, match="fsdp, but this machine has no GPU"):
        launch.train_in_processes(job, Start(tmp_path, None))
