"""The serving process without ZenML: who it is, how it is started, and that it is ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from stacks.deployer import process, start
from stacks.deployer.readiness import Readiness
from tests.deployer.stub import Behave
from tuneline import paths
from tuneline.errors import TunelineError, UserError

STARTER = """
import sys
from pathlib import Path
from stacks.deployer import process, start
plan = start.Plan("tiny", sys.argv[1], Path(sys.argv[2]))
with process.exclusive(plan.workdir, 60):
    start.bring_up(plan, start.serving_environment([], {}), timeout=120)
"""


@pytest.fixture
def plan(tuneline_home: Path, folder: str, stub: Behave) -> start.Plan:
    found = start.Plan("tiny", folder, paths.endpoint_workdir("tiny"))
    found.workdir.mkdir(parents=True)
    return found


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    yield sleeper
    sleeper.kill()
    sleeper.wait()


def bring_up(plan: start.Plan, **more: int) -> tuple[process.Serving, bool]:
    return start.bring_up(plan, start.serving_environment([], {}), timeout=60, **more)


def until_started(plan: start.Plan) -> int:
    """Wait until the stub is there, behind its gate; its pid."""
    deadline = time.monotonic() + 60
    while not (plan.workdir / "seen.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    found = process.find(plan.workdir)
    assert found is not None
    return found.pid


def test_what_runs_already_is_found_and_not_started_again(plan: start.Plan) -> None:
    first, started = bring_up(plan)
    second, again = bring_up(plan)
    assert (started, again) == (True, False)
    assert first == second == process.find(plan.workdir)
    assert (plan.workdir / "starts").read_text() == "x"


def test_a_number_that_another_program_was_given_is_neither_found_nor_killed(
    plan: start.Plan, bystander: subprocess.Popen[bytes]
) -> None:
    (plan.workdir / "process.json").write_text(json.dumps({"pid": bystander.pid, "birth": "an earlier one"}))
    (plan.workdir / "endpoint.json").write_text(json.dumps({"pid": bystander.pid, "url": "http://127.0.0.1:1"}))
    assert process.find(plan.workdir) is None
    assert not process.stop(plan.workdir, grace=0)
    assert bring_up(plan)[1]
    assert bystander.poll() is None


def test_a_process_that_ended_and_was_not_collected_yet_is_gone(bystander: subprocess.Popen[bytes]) -> None:
    assert process.birth(bystander.pid) is not None
    bystander.kill()
    os.waitid(os.P_PID, bystander.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
    assert process.birth(bystander.pid) is None


def test_an_endpoint_json_that_a_killed_predecessor_left_behind_is_not_believed(plan: start.Plan) -> None:
    first, _ = bring_up(plan)
    stale = (plan.workdir / "endpoint.json").read_text()
    psutil.Process(first.pid).kill()
    second, started = bring_up(plan)
    assert started
    (plan.workdir / "endpoint.json").write_text(stale)
    assert process.find(plan.workdir) == process.Serving(pid=second.pid, folder=plan.folder, url=None)


def test_what_a_killed_leader_left_of_its_session_is_ended_before_the_next_start(
    plan: start.Plan, stub: Behave
) -> None:
    stub(helper=True)
    first, _ = bring_up(plan)
    helper = psutil.Process(int((plan.workdir / "helper").read_text()))
    psutil.Process(first.pid).kill()
    assert helper.is_running()
    stub()
    assert bring_up(plan)[1]
    assert not helper.is_running()


@pytest.mark.parametrize("wish", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_start_leaves_nothing_running_or_something_the_next_start_takes_over(
    plan: start.Plan, stub: Behave, tmp_path: Path, wish: signal.Signals
) -> None:
    gate = tmp_path / "gate"
    stub(gate=str(gate))
    starter = subprocess.Popen([sys.executable, "-c", STARTER, plan.folder, str(plan.workdir)], cwd=paths.REPO)
    pid = until_started(plan)
    starter.send_signal(wish)
    starter.wait(timeout=60)
    if wish == signal.SIGINT:
        assert process.find(plan.workdir) is None
        assert not psutil.pid_exists(pid)
    gate.touch()
    serving, started = bring_up(plan)
    assert started == (serving.pid != pid) == (wish == signal.SIGINT)


def test_two_starters_at_once_start_one_process(plan: start.Plan) -> None:
    starters = [
        subprocess.Popen([sys.executable, "-c", STARTER, plan.folder, str(plan.workdir)], cwd=paths.REPO)
        for _ in range(2)
    ]
    assert [starter.wait(timeout=120) for starter in starters] == [0, 0]
    assert (plan.workdir / "starts").read_text() == "x"


def test_a_starter_that_waits_too_long_for_another_one_says_so(plan: start.Plan) -> None:
    with (
        process.exclusive(plan.workdir, timeout=1),
        pytest.raises(TunelineError, match="another command"),
        process.exclusive(plan.workdir, timeout=0),
    ):
        pass


def test_a_missing_serving_environment_is_named_with_the_command_that_makes_it(
    plan: start.Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNELINE_SERVING_PYTHON", "/nowhere/python")
    with pytest.raises(UserError, match="/nowhere/python") as failure:
        bring_up(plan)
    assert "make setup" in failure.value.hint


def test_a_broken_serving_environment_is_named_with_the_command_that_mends_it(
    plan: start.Plan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/nowhere/python\n")
    broken.chmod(0o755)
    monkeypatch.setenv("TUNELINE_SERVING_PYTHON", str(broken))
    with pytest.raises(UserError, match="cannot be run") as failure:
        bring_up(plan)
    assert "make setup" in failure.value.hint


def test_a_port_in_use_is_named_and_nothing_is_started(plan: start.Plan) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=rf"127\.0\.0\.1:{port}: Address already in use"):
            bring_up(start.Plan("tiny", plan.folder, plan.workdir, port=port))
    assert not (plan.workdir / "seen.json").exists()


def test_what_the_server_calls_the_users_mistake_stays_one(plan: start.Plan, stub: Behave) -> None:
    stub(die="cannot listen on 127.0.0.1:4711", code=2)
    with pytest.raises(UserError, match=r"127\.0\.0\.1:4711"):
        bring_up(plan)


def test_a_port_that_was_picked_once_is_kept(plan: start.Plan) -> None:
    first, _ = bring_up(plan)
    process.stop(plan.workdir, grace=10)
    second, started = bring_up(plan)
    assert started
    assert second.url == first.url


def test_a_picked_port_that_somebody_else_took_meanwhile_is_replaced_by_a_free_one(plan: start.Plan) -> None:
    first, _ = bring_up(plan)
    process.stop(plan.workdir, grace=10)
    port = process.last_port(plan.workdir)
    assert port
    with socket.create_server(("127.0.0.1", port)):
        second, _ = bring_up(plan)
    assert second.url != first.url


def test_an_endpoint_that_runs_for_another_folder_is_left_alone(plan: start.Plan) -> None:
    first, _ = bring_up(plan)
    other = start.Plan("tiny", "s3://other/tiny", plan.workdir)
    with pytest.raises(UserError, match="s3://other/tiny") as failure:
        bring_up(other)
    assert "run.py stop" in failure.value.hint
    assert process.find(plan.workdir) == first


def test_the_server_gets_what_it_needs_of_the_environment_and_no_more(
    plan: start.Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ZENML_STORE_API_KEY", "MLFLOW_TRACKING_TOKEN", "OPENAI_API_KEY", "PYTHONPATH", "EXTRA"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("HF_TOKEN", "for the base model")
    start.bring_up(plan, start.serving_environment(["EXTRA"], {"AWS_ACCESS_KEY_ID": "id"}), timeout=60)
    seen = json.loads((plan.workdir / "seen.json").read_text())["environment"]
    assert {name: seen[name] for name in ("HF_TOKEN", "EXTRA", "AWS_ACCESS_KEY_ID")} == {
        "HF_TOKEN": "for the base model",
        "EXTRA": "x",
        "AWS_ACCESS_KEY_ID": "id",
    }
    assert not {"ZENML_STORE_API_KEY", "MLFLOW_TRACKING_TOKEN", "OPENAI_API_KEY", "PYTHONPATH"} & seen.keys()
    assert not [name for name in seen if name.startswith("ZENML_")]


def test_an_error_shows_this_starts_log_lines_and_not_an_earlier_ones(plan: start.Plan, stub: Behave) -> None:
    (plan.workdir / "gateway.log").write_text("the fire of yesterday\n")
    stub(die="boom")
    with pytest.raises(TunelineError, match="boom") as failure:
        bring_up(plan)
    assert "gateway of tiny says hello" in failure.value.what
    assert "yesterday" not in failure.value.what
    assert str(plan.workdir) in failure.value.hint


def test_lines_of_a_log_are_handed_out_once_and_whole(tmp_path: Path) -> None:
    log, read = tmp_path / "gateway.log", dict[str, int]()
    log.write_text("one\ntw")
    assert process.new_lines(tmp_path, read) == {"gateway.log": ["one"]}
    assert process.new_lines(tmp_path, read) == {}
    log.write_text("one\ntwo\n")
    assert process.new_lines(tmp_path, read) == {"gateway.log": ["two"]}
    log.write_text("new\n")
    assert process.new_lines(tmp_path, read) == {"gateway.log": ["new"]}


@pytest.mark.parametrize(
    ("error", "state", "stuck"),
    [
        (None, "starting", False),
        ("release 3 could not be applied: hash", "ready", True),
        ("release 2 could not be applied: hash", "ready", False),
        ("release 3 could not be applied: the engine is restarting", "engine restarting", False),
        ("s3://bucket could not be read: denied", "no release can be read", True),
    ],
)
def test_an_error_counts_if_it_keeps_the_awaited_release_away(error: str | None, state: str, stuck: bool) -> None:
    assert Readiness(ready=True, state=state, release=1, error=error).is_stuck_before(3) is stuck
