"""Two processes learn what one learns, end when they are told to, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.training.tiny_job import tiny_base, tiny_job
from tuneline import paths
from tuneline.data.synthetic import generate_records
from tuneline.training.durable.interruption import Interrupted
from tuneline.training.job import TrainingJob
from tuneline.training.progress import Progress
from tuneline.training.train import train

TWO: dict[str, Any] = {"distributed": {"processes": 2}, "max_steps": 14, "checkpoints": {"every_steps": 4}}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("base"))


def _job(base: Path, output: Path, training: dict[str, Any], **job: Any) -> TrainingJob:
    return tiny_job(base, output, records=list(generate_records(("kubectl",), 240, seed=1)), training=training, **job)


def test_two_processes_interrupted_and_taken_up_again_give_the_curve_of_one(base: Path, tmp_path: Path) -> None:
    alone = train(_job(base, tmp_path / "alone", {"max_steps": 14}))
    said: list[str] = []
    job = _job(base, tmp_path / "two", TWO, checkpoints=str(tmp_path / "checkpoints"), say=said.append)

    def on_progress(moment: Progress) -> None:
        if moment.step == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match=r"SIGTERM at step \d+ of 14; the checkpoint of step \d+ is saved"):
        train(replace(job, on_progress=on_progress))
    two = train(job)
    assert two.run.processes == 2 and len(two.run.resumed_from) == 1, said
    assert [moment.step for moment in two.curve] == [moment.step for moment in alone.curve]
    for one, other in zip(two.curve, alone.curve, strict=True):
        assert one.loss == pytest.approx(other.loss, abs=1e-5)
    ours, theirs = (load_file(o.adapter.folder / "adapter_model.safetensors") for o in (two, alone))
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in theirs) < 1e-4


STARTER = """
import os, subprocess, sys
child = "from tuneline.training.distributed.orphans import end_with; import sys, time; end_with(int(sys.argv[1])); "
child += "print('ready', flush=True); time.sleep(60)"
started = subprocess.Popen([sys.executable, "-c", child, str(os.getpid())], stdout=subprocess.PIPE)
started.stdout.readline()
print(started.pid, flush=True)
started.wait()
"""


def test_a_process_ends_with_the_one_that_started_it(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", STARTER],
        env=os.environ | {"PYTHONPATH": str(paths.REPO)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    child = Path("/proc") / parent.stdout.readline().strip()
    assert child.exists()
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 30
    while _lives(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _lives(child)


def _lives(process: Path) -> bool:
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"  # nobody may reap it here
    except (FileNotFoundError, ProcessLookupError):
        return False
