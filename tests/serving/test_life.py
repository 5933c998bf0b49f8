"""Death in every place: whatever is killed, the endpoint tells the truth, comes back, and leaves no process behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.serving.conftest import Running, running, wait_until
from tuneline import paths
from tuneline.release import GatewayArguments


def live(endpoint: Running) -> Running:
    """The endpoint with one version in production and an engine that has a child of its own."""
    endpoint.tell("child")
    endpoint.release({"1": "one"}, "1")
    return endpoint.start().ready()


def worker(endpoint: Running) -> psutil.Process:
    return next(process for process in endpoint.tree() if "serving.worker" in process.cmdline())


def test_a_killed_engine_comes_back_with_its_adapters_and_meanwhile_the_answer_is_503(endpoint: Running) -> None:
    live(endpoint)
    endpoint.tell("slow-start")
    child = psutil.Process(int((endpoint.stub / "child").read_text()))
    pid = endpoint.engine_pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: endpoint.get("/readyz", None).status_code == 503, "readyz to notice")
    for response in (endpoint.ask(), endpoint.get("/readyz", None)):
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) > 0
    wait_until(lambda: endpoint.get("/readyz", None).json()["state"] == "engine restarting", "the supervisor to notice")
    assert 'tuneline_engine_up{endpoint="tiny"} 0.0' in endpoint.get("/metrics").text
    wait_until(lambda: running([child]) == [], "the engine's child to be ended")
    endpoint.untell("slow-start")
    endpoint.ready()
    assert endpoint.ask().json()["choices"][0]["message"]["content"].startswith("one ")
    assert endpoint.get("/release").json()["engine"]["starts"] == 2


def test_readyz_never_says_ready_while_requests_are_refused(endpoint: Running) -> None:
    live(endpoint)
    for _ in range(5):
        endpoint.ready()
        pid = endpoint.engine_pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            if endpoint.ask().status_code == 503 and endpoint.get("/readyz", None).status_code == 200:
                # it may have come back between the two questions, then it answers now
                assert endpoint.ask().status_code == 200


def test_a_stream_that_the_engines_death_cuts_ends_with_an_error_and_without_done(endpoint: Running) -> None:
    live(endpoint)
    endpoint.tell("tokens", "100000")
    pid = endpoint.engine_pid()
    assert pid is not None
    with endpoint.stream() as response:
        pieces = response.iter_text()
        next(pieces)
        os.kill(pid, signal.SIGKILL)
        text = "".join(pieces)
    last = text.rstrip().rsplit("\n\n", 1)[-1]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "engine_unavailable"


def test_a_hanging_engine_is_not_ready(endpoint: Running) -> None:
    endpoint.release({"1": "one"}, "1", gateway=GatewayArguments(hang_seconds=10))  # and 5 s later it would be ended
    endpoint.start().ready()
    endpoint.tell("hang")
    wait_until(lambda: endpoint.get("/readyz", None).json()["state"] == "engine not answering", "readyz to notice", 90)
    endpoint.untell("hang")
    endpoint.ready()
    assert endpoint.engines() == 1


def test_an_adapter_that_kills_the_engine_is_given_up(endpoint: Running) -> None:
    live(endpoint)
    endpoint.tell("die-on-load")
    endpoint.release({"1": "one", "2": "two"}, "2")
    wait_until(lambda: endpoint.engines() >= 2, "the engine to die")
    endpoint.untell("die-on-load")
    endpoint.ready()
    assert endpoint.ask().status_code == 200


def test_a_killed_launcher_takes_everything_with_it(endpoint: Running) -> None:
    tree = live(endpoint).tree()
    assert len(tree) >= 5
    assert endpoint.process is not None
    endpoint.process.kill()
    wait_until(lambda: running(tree) == [], "the tree to be gone")
    # the next start does not take the dead one's card for its own
    endpoint.process.communicate()
    endpoint.start().ready()


def test_a_killed_worker_takes_the_engine_with_it_and_comes_back_on_the_same_port(endpoint: Running) -> None:
    old = live(endpoint).tree()[1:]
    worker(endpoint).kill()
    wait_until(lambda: running(old) == [], "the old tree to be gone")
    endpoint.ready()
    assert endpoint.ask().status_code == 200


def test_a_killed_guard_of_the_engine_leaves_no_engine_behind(endpoint: Running) -> None:
    live(endpoint)
    guard = next(process for process in endpoint.tree() if any("tree.py" in part for part in process.cmdline()))
    old = guard.children(recursive=True)
    assert old
    guard.kill()
    wait_until(lambda: running(old) == [], "the engine to be gone")
    endpoint.ready()
    assert endpoint.ask().status_code == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_finishes_answers_under_way_and_leaves_nothing(
    endpoint: Running, number: signal.Signals
) -> None:
    live(endpoint)
    endpoint.tell("tokens", "300")
    tree = endpoint.tree()
    texts: list[str] = []
    started = threading.Event()

    def client() -> None:
        with endpoint.stream() as response:
            for piece in response.iter_text():
                started.set()
                texts.append(piece)

    thread = threading.Thread(target=client)
    thread.start()
    assert started.wait(30)
    assert endpoint.process is not None
    endpoint.process.send_signal(number)
    assert endpoint.process.wait(60) == 0
    thread.join()
    assert "".join(texts).endswith("data: [DONE]\n\n")
    assert running(tree) == []
    assert not (endpoint.workdir / "endpoint.json").exists()
    assert list((endpoint.workdir / "run").iterdir()) == []


def test_plain_bentoml_serve_shows_the_gateway_and_none_of_its_own_pages(endpoint: Running) -> None:
    endpoint.release({"1": "one"}, "1")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {"ENDPOINT": "tiny", "FOLDER": endpoint.store, "WORKDIR": str(endpoint.workdir)}
    env = {f"TUNELINE_{name}": value for name, value in settings.items()}
    env |= {"BENTOML_HOME": str(endpoint.root / "bentoml"), "BENTOML_DO_NOT_TRACK": "True"}
    command = ["-m", "bentoml", "serve", "serving.service:TunelineEndpoint", "--host", "127.0.0.1", "--port", str(port)]
    endpoint.spawn([str(paths.serving_python()), *command], env)
    endpoint.url = f"http://127.0.0.1:{port}"
    wait_until(endpoint.answers, "bentoml serve")
    endpoint.ready()
    assert endpoint.ask().headers["x-tuneline-version"] == "1"
    for path in ("/", "/docs.json", "/schema.json", "/healthz"):
        assert endpoint.get(path).status_code == 404
    assert endpoint.get("/metrics", None).status_code == 401


def test_a_port_in_use_is_refused_at_once(endpoint: Running) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        process = endpoint.launch("--port", str(other.getsockname()[1]))
        _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "cannot listen on 127.0.0.1" in said
    assert "Traceback" not in said


def test_a_working_folder_belongs_to_one_endpoint(endpoint: Running) -> None:
    endpoint.start()
    first = endpoint.process
    second = endpoint.launch()
    _, said = second.communicate(timeout=60)
    endpoint.process = first
    assert second.returncode == 2
    assert "another endpoint is running in" in said


@pytest.mark.parametrize("name", ["Tiny", "a/b", "-x", "x" * 60])
def test_a_name_that_is_none_is_refused(endpoint: Running, name: str) -> None:
    process = endpoint.launch("--endpoint", name)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "--endpoint" in said


def test_an_engine_that_does_not_start_is_reported_with_the_end_of_its_log(endpoint: Running) -> None:
    endpoint.tell("refuse-start")
    endpoint.release({"1": "one"}, "1")
    endpoint.start()
    found = wait_until(lambda: endpoint.get("/readyz").json()["error"], "the error")
    assert "the stub was told not to start" in found
    without_key = endpoint.get("/readyz", None).json()["error"]
    assert "before it was ready" in without_key
    assert str(endpoint.root) not in without_key and "told not to start" not in without_key
    endpoint.untell("refuse-start")
    endpoint.ready()


def test_nobody_else_can_reach_the_engine(endpoint: Running) -> None:
    live(endpoint)
    engine = psutil.Process(endpoint.engine_pid())
    assert [c for c in engine.net_connections() if c.status == psutil.CONN_LISTEN and c.family != socket.AF_UNIX] == []
    folder = Path(f"/proc/{engine.pid}/cwd").readlink()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.connect(f"{folder}/engine.sock")
        body = b'{"model": "tuneline-base", "prompt": "x"}'
        head = b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\nauthorization: no\r\n\r\n" % len(
            body
        )
        connection.sendall(head + body)
        assert b" 401 " in connection.recv(100)


def test_the_port_is_not_handed_to_the_engine(endpoint: Running) -> None:
    live(endpoint)

    def listens(process: psutil.Process) -> Any:
        return [c for c in process.net_connections(kind="tcp") if c.status == psutil.CONN_LISTEN]

    assert [process.pid for process in endpoint.tree() if listens(process)] == [
        endpoint.process.pid if endpoint.process else None,
        worker(endpoint).pid,
    ]
