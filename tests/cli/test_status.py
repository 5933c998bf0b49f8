"""`status`, and `deploy`, `stop` and `logs` around it: what a person reads whose endpoint runs, does not, or died."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.cli.conftest import Run
from tests.deployer.stub import Behave, deployer, stub
from tuneline import paths

if TYPE_CHECKING:
    from stacks.deployer.deployer import BentoVLLMModelDeployer

__all__ = ["deployer", "stub"]  # a serving process that starts in milliseconds

pytestmark = pytest.mark.zenml

TINY = ("--set", "name=tiny")


@pytest.fixture
def released(deployer: BentoVLLMModelDeployer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 1 in production by release 2; nothing has been started."""
    from controlplane.releases import prove, put_in_production
    from controlplane.storage import active_storage
    from tests.controlplane.registered import registered

    monkeypatch.setattr("cli.deploy.check_endpoint", lambda _: None)
    assert run("stop", *TINY).code == 0  # chooses the stack
    version = registered("a")
    prove(version, active_storage())
    put_in_production(version, active_storage(), "it is good")


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    yield sleeper
    sleeper.kill()
    sleeper.wait()


def kill(pid: int) -> None:
    process = psutil.Process(pid)
    process.kill()
    psutil.wait_procs([process], timeout=10)


def status(run: Run) -> tuple[dict[str, Any], str]:
    """As JSON, and as it is printed."""
    shown, document = run("status", *TINY), run("status", "--json", *TINY)
    assert (shown.code, shown.err, document.code, document.err) == (0, "", 0, "")
    return json.loads(document.out), shown.out


def test_before_the_first_version_it_says_how_to_begin(run: Run, deployer: BentoVLLMModelDeployer) -> None:
    document, shown = status(run)
    assert (document["running"], document["state"], document["wanted"]) == (False, "not running", None)
    assert "none yet" in shown and "Next: python run.py makes the first version" in shown


def test_an_endpoint_is_started_shown_and_stopped_and_all_of_it_works_twice(run: Run, released: None) -> None:
    document, shown = status(run)
    assert (document["running"], document["wanted"], document["pid"]) == (False, 2, None)
    assert "Next: python run.py deploy starts it where it was." in shown

    assert "its endpoint was started" in run("deploy", *TINY).out
    again = run("deploy", *TINY).out
    assert "in production, and live" in again and "python run.py ask" in again
    document, shown = status(run)
    assert (document["running"], document["ready"], document["state"]) == (True, True, "ready")
    assert (document["live"], document["wanted"], document["reason"]) == (2, 2, "it is good")
    assert (document["traffic"], document["challenger"], document["keys"]) == ({"1": 100.0}, None, 1)
    assert psutil.pid_exists(document["pid"]) and document["since"] and document["error"] is None
    assert document["engine"]["starts"] == 2
    assert document["logs"] == str(paths.endpoint_workdir("tiny"))
    for piece in (f"{document['url']}/v1", "2: it is good", "version 1 100 %", "0 min", "python run.py ask"):
        assert piece in shown

    from zenml.client import Client

    Client._reset_instance()  # as in the next process: it is found at the process itself
    for service in Client().list_services().items:
        Client().delete_service(service.id)
    assert status(run)[0]["pid"] == document["pid"]

    assert "has stopped. python run.py deploy starts it again." in run("stop", *TINY).out
    assert "was not running. python run.py deploy starts it." in run("stop", *TINY).out
    assert not psutil.pid_exists(document["pid"])
    assert status(run)[0]["running"] is False
    assert "hello" in run("logs", *TINY).out


def test_after_a_reboot_it_is_not_running_and_deploy_starts_it_on_its_port(
    run: Run, released: None, bystander: subprocess.Popen[bytes]
) -> None:
    run("deploy", *TINY)
    before = status(run)[0]
    kill(before["pid"])
    # The number is another program's by now, and both files lie where they were.
    workdir = paths.endpoint_workdir("tiny")
    for name, change in {"process.json": {"birth": "an earlier boot/1"}, "endpoint.json": {}}.items():
        record = json.loads((workdir / name).read_text())
        (workdir / name).write_text(json.dumps(record | {"pid": bystander.pid} | change))
    document, shown = status(run)
    assert (document["running"], document["state"], document["pid"]) == (False, "not running", None)
    assert "python run.py deploy" in shown

    ended = run("deploy", *TINY)
    assert (ended.code, ended.err) == (0, "")
    assert "its endpoint was started" in ended.out
    after = status(run)[0]
    assert (after["ready"], after["url"], after["live"]) == (True, before["url"], 2)
    assert after["pid"] not in (before["pid"], bystander.pid)
    assert bystander.poll() is None


def test_what_is_wrong_is_said_with_where_to_look(run: Run, released: None, stub: Behave) -> None:
    from controlplane.settings import follow_settings
    from controlplane.storage import active_storage
    from tuneline.release import CanaryBounds, GatewayArguments

    run("deploy", *TINY)
    workdir = paths.endpoint_workdir("tiny")
    record = json.loads((workdir / "process.json").read_text())
    (workdir / "process.json").write_text(json.dumps(record | {"folder": "/another/stack"}))
    document, shown = status(run)
    assert document["error"] == "it runs for another stack: it reads its releases from /another/stack"
    assert "/another/stack" in shown and "python run.py logs" in shown
    (workdir / "process.json").write_text(json.dumps(record))

    url = json.loads((workdir / "endpoint.json").read_text())
    (workdir / "endpoint.json").write_text(json.dumps(url | {"url": "http://127.0.0.1:9"}))
    assert status(run)[0]["state"] == "not answering"
    (workdir / "endpoint.json").write_text(json.dumps(url))

    run("stop", *TINY)
    follow_settings("tiny", active_storage(), GatewayArguments(max_n=2), CanaryBounds())
    stub(error="the adapter is gone")
    ended = run("deploy", *TINY, "--set", "serving.gateway.max_n=2", "--set", "serving.start_timeout=1")
    assert ended.code == 1
    document, shown = status(run)
    assert document["running"] is False


def test_an_endpoint_that_runs_elsewhere_is_asked_at_its_address(
    run: Run, released: None, tmp_path: Path, deployer: BentoVLLMModelDeployer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("deploy", *TINY)
    here = status(run)[0]
    deployer._config = deployer.config.model_copy(update={"url": here["url"]})
    monkeypatch.setattr("controlplane.status.active_deployer", lambda: deployer)
    with monkeypatch.context() as patch:
        patch.setenv("TUNELINE_HOME", str(tmp_path / "elsewhere"))  # nothing of it is on this machine
        document, _ = status(run)
        assert (document["running"], document["ready"], document["live"]) == (True, True, 2)
        assert (document["url"], document["pid"], document["since"], document["logs"]) == (here["url"], *[None] * 3)
        assert document["engine"]["since"] is None
        kill(here["pid"])
        document, shown = status(run)
        assert document["running"] is False
        assert f"nobody answers at {here['url']}" in shown and "start it where it runs" in shown
