"""An interrupted training goes on where it was, and ends with the very weights of one that was not interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.training.tiny_job import tiny_base, tiny_job
from tuneline import paths
from tuneline.training.durable.fingerprint import job_fingerprint
from tuneline.training.durable.interruption import Interrupted
from tuneline.training.job import TrainingJob
from tuneline.training.outcome import TrainingOutcome
from tuneline.training.progress import Progress
from tuneline.training.train import train

# Dropout makes random states matter. Moments are logged every second step and states saved every third, so that a
# resumed run begins between two moments; an epoch has 18 micro-batches or so.
TRAINING: dict[str, Any] = {
    "max_steps": 100,
    "batch_tokens": 256,
    "micro_batch_tokens": 128,
    "lora_dropout": 0.2,
    "checkpoints": {"every_steps": 3},
}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # sums over several threads have no fixed order
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def uninterrupted(base: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingOutcome:
    return train(tiny_job(base, tmp_path_factory.mktemp("whole") / "adapter", training=TRAINING))


def _assert_equal(one: TrainingOutcome, other: TrainingOutcome) -> None:
    assert [(m.step, m.loss, m.learning_rate, m.grad_norm) for m in one.curve] == [
        (m.step, m.loss, m.learning_rate, m.grad_norm) for m in other.curve
    ]
    ours, theirs = (load_file(o.adapter.folder / "adapter_model.safetensors") for o in (one, other))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs) and ours.keys() == theirs.keys()


def _interrupted_at(step: int, job: TrainingJob) -> TrainingJob:
    """The same job, ended by SIGTERM at a step."""

    def on_progress(moment: Progress) -> None:
        if moment.step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return replace(job, on_progress=on_progress)


KILLED = """
import os, signal, sys, time
from pathlib import Path
import torch
from tests.training.tiny_job import tiny_job
from tuneline.training.train import train
torch.set_num_threads(1)
base, output, checkpoints = map(Path, sys.argv[1:])
def on_progress(moment):
    if moment.step == 16:
        while not list(checkpoints.glob("step-*15")):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
train(tiny_job(base, output, training={training}, checkpoints=str(checkpoints), on_progress=on_progress))
"""


def test_after_sigkill_the_same_job_ends_with_the_same_curve_and_weights(
    base: Path, uninterrupted: TrainingOutcome, tmp_path: Path
) -> None:
    checkpoints = tmp_path / "checkpoints"
    child = subprocess.run(
        [sys.executable, "-c", KILLED.replace("{training}", repr(TRAINING)), base, tmp_path / "lost", checkpoints],
        env=os.environ | {"PYTHONPATH": str(paths.REPO)},
        capture_output=True,
        text=True,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr
    said: list[str] = []
    outcome = train(
        tiny_job(base, tmp_path / "adapter", training=TRAINING, checkpoints=str(checkpoints), say=said.append)
    )
    assert any("goes on after step 15" in line for line in said), said
    assert outcome.run.resumed_from == (15,)
    _assert_equal(outcome, uninterrupted)
    assert outcome.run.seconds > 0 and [moment.step for moment in outcome.curve] == [1, *range(2, 101, 2)]


def test_sigterm_saves_and_the_same_job_goes_on_past_a_damaged_checkpoint(
    base: Path, uninterrupted: TrainingOutcome, tmp_path: Path
) -> None:
    said: list[str] = []
    checkpoints = tmp_path / "checkpoints"
    job = tiny_job(base, tmp_path / "adapter", training=TRAINING, checkpoints=str(checkpoints), say=said.append)
    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with pytest.raises(
        Interrupted, match=r"SIGTERM at step 1[01] of 100; the checkpoint of step 1[01] is saved"
    ) as ended:
        train(_interrupted_at(10, job))
    assert ended.value.exit_code == 128 + signal.SIGTERM
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == handlers
    assert not job.output.exists()

    kept = sorted(path.name for path in checkpoints.iterdir())
    assert len(kept) == 2 and not list(checkpoints.rglob("*.bin")), "two are kept, nothing is pickled"
    (checkpoints / kept[1] / "optimizer.pt").write_bytes(b"cut short")
    heard: list[Progress] = []
    outcome = train(replace(job, on_progress=heard.append))
    assert [line for line in said if "damaged: optimizer.pt" in line] and outcome.run.resumed_from == (9,), said
    _assert_equal(outcome, uninterrupted)
    assert tuple(heard) == outcome.curve, "who listens now hears of the steps before, too"

    assert [path.name for path in checkpoints.iterdir()] == ["finished"]
    again = train(replace(job, output=tmp_path / "again"))
    assert "finished before" in said[-1]
    _assert_equal(again, outcome)
    assert again.run == outcome.run


def test_a_checkpoint_of_another_job_is_left_alone(base: Path, tmp_path: Path) -> None:
    few = {**TRAINING, "max_steps": 6}
    checkpoints = str(tmp_path / "checkpoints")
    with pytest.raises(Interrupted):
        train(_interrupted_at(4, tiny_job(base, tmp_path / "one", training=few, checkpoints=checkpoints)))
    said: list[str] = []
    other = tiny_job(
        base, tmp_path / "two", training={**few, "learning_rate": 1e-3}, checkpoints=checkpoints, say=said.append
    )
    assert train(other).run.resumed_from == ()
    assert any("belongs to another job" in line for line in said), said


def test_only_what_decides_the_weights_is_in_the_fingerprint(base: Path, tmp_path: Path) -> None:
    job = tiny_job(base, tmp_path, training={})
    same = tiny_job(base, tmp_path / "other", training={"checkpoints": {"every_minutes": 1}, "on_oom": "stop"})
    assert job_fingerprint(job) == job_fingerprint(same)
    others = [
        tiny_job(base, tmp_path, training={"seed": 1}),
        replace(job, records=job.records[1:]),
        replace(job, prompt=job.prompt.model_copy(update={"system": "Be short."})),
        replace(job, model=job.model.model_copy(update={"base": str(tiny_base(tmp_path / "base", seed=1))})),
    ]
    assert len({job_fingerprint(one) for one in [job, *others]}) == 5
