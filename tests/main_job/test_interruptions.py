"""The main job, interrupted in every stage and run again: it goes on, nothing is half-registered or left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest

from tests.main_job.conftest import Tuneline, fresh_world
from tuneline import paths

pytestmark = [
    pytest.mark.main_job,
    pytest.mark.engine,
    pytest.mark.skipif(
        not paths.serving_python().exists(), reason="needs the serving environment: `make setup` makes it"
    ),
]

QUICK = ("--set", "training.max_steps=60", "--set", "data.evaluation.sources.0.size=200")


def interrupt(world: Tuneline, line: str, number: signal.Signals) -> int:
    """Run the main job until it prints a line that begins so, then send it a signal as Ctrl-C or `kill` would.

    Returns:
        Its exit code.
    """
    process = subprocess.Popen(
        [sys.executable, "run.py", *QUICK],
        cwd=paths.REPO,
        env=world.env | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a Ctrl-C reaches the whole group, and this test is not to be in it
    )
    assert process.stdout is not None
    said = []
    for printed in process.stdout:
        said.append(printed)
        if printed.startswith(line):
            if number == signal.SIGINT:
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)
            break
    rest, _ = process.communicate(timeout=120)
    assert said and said[-1].startswith(line), f"{line!r} was never printed:\n{''.join(said)}"
    assert "Traceback" not in rest, rest
    return process.returncode


def serving_processes(world: Tuneline) -> list[str]:
    """Command lines of whatever runs out of this world's home."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = " ".join(process.info["cmdline"] or ())
        if world.env["TUNELINE_HOME"] in command:
            found.append(command)
    return found


def test_a_run_that_is_stopped_in_any_stage_goes_on_when_it_is_started_again() -> None:
    with fresh_world() as world:
        assert interrupt(world, "training: step", signal.SIGINT) == 130
        assert world.models() == {"endpoint": None, "versions": []}

        assert interrupt(world, "evaluation:", signal.SIGKILL) == -signal.SIGKILL
        assert world.models() == {"endpoint": None, "versions": []}

        assert interrupt(world, "registered:", signal.SIGKILL) == -signal.SIGKILL
        (version,) = world.versions().values()
        assert (version["version"], version["stage"], version["verdict"]) == ("1", "staging", "PASS")

        # while the endpoint starts: what this run began ends with it
        assert interrupt(world, "release: 1", signal.SIGINT) == 130
        assert serving_processes(world) == []

        assert interrupt(world, "endpoint:", signal.SIGKILL) == -signal.SIGKILL
        (version,) = world.versions().values()
        assert (version["stage"], version["traffic_percent"]) == ("staging", 0)

        said = world.done(*QUICK)
        assert "nothing to train" in said and "was running already" in said
        document = world.models()
        (version,) = document["versions"]
        assert (version["version"], version["stage"], version["traffic_percent"]) == ("1", "production", 100)
        assert document["endpoint"]["ready"] is True

        world.done("stop")
        assert serving_processes(world) == []
