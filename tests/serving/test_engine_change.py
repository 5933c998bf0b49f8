"""Another engine: beside the old one, in its place, after a hang, from a standby."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import threading
from pathlib import Path

import psutil

from tests.serving.conftest import Running, running, wait_until
from tuneline.release import EngineArguments
from tuneline.release.gateway import GatewayArguments

TOO_LARGE = EngineArguments(kv_cache_gib=1e6)


def test_another_engine_starts_beside_the_old_one_and_nobody_is_refused(endpoint: Running) -> None:
    endpoint.release({"1": "one"}, "1")
    endpoint.start().ready()
    first = endpoint.engine_pid()
    assert first is not None
    stop = threading.Event()
    wrong: list[str] = []

    def client() -> None:
        while not stop.is_set():
            response = endpoint.ask(stream=True)
            if response.status_code != 200 or not response.text.endswith("data: [DONE]\n\n"):
                wrong.append(f"{response.status_code} {response.text}")

    clients = [threading.Thread(target=client) for _ in range(4)]
    for thread in clients:
        thread.start()
    try:
        endpoint.tell("late-start")
        endpoint.release({"2": "two"}, "2", engine=EngineArguments(max_num_seqs=7))
        wait_until(lambda: endpoint.engines() == 2, "the second engine")
        assert 'tuneline_engine_replacing{endpoint="tiny"} 1.0' in endpoint.get("/metrics").text
        assert endpoint.get("/readyz", None).json()["state"] == "ready"
        assert endpoint.engine_pid() == first
        endpoint.untell("late-start")
        endpoint.applied(2)
        assert endpoint.ask().headers["x-tuneline-version"] == "2"
        wait_until(lambda: not psutil.pid_exists(first), "the old engine to be gone")
    finally:
        stop.set()
        for thread in clients:
            thread.join()
    assert wrong == []
    assert endpoint.engine_pid() not in (None, first)
    metrics = endpoint.get("/metrics").text
    assert 'tuneline_engine_replacing{endpoint="tiny"} 0.0' in metrics
    assert 'tuneline_engine_up{endpoint="tiny"} 1.0' in metrics


def test_an_engine_that_does_not_start_beside_the_old_one_leaves_it_serving(endpoint: Running) -> None:
    endpoint.release({"1": "one"}, "1")
    endpoint.start().ready()
    first = endpoint.engine_pid()
    endpoint.tell("refuse-two")
    endpoint.release({"2": "two"}, "2", engine=EngineArguments(max_num_seqs=7))
    wait_until(lambda: endpoint.get("/readyz", None).json()["error"], "the error")
    assert "release 2 could not be applied" in endpoint.get("/readyz", None).json()["error"]
    assert endpoint.engine_pid() == first
    assert endpoint.ask().headers["x-tuneline-version"] == "1"
    assert len([p for p in endpoint.tree() if "stub_engine.py" in " ".join(p.cmdline()[:3])]) == 1


def test_without_room_for_a_second_one_the_change_is_announced_with_a_time(endpoint: Running) -> None:
    endpoint.release({"1": "one"}, "1")
    endpoint.start().ready()
    endpoint.tell("late-start")
    endpoint.release({"1": "one"}, "1", engine=TOO_LARGE)
    wait_until(lambda: endpoint.get("/readyz", None).json()["state"] == "replacing the engine", "the announcement")
    response = endpoint.ask()
    assert (response.status_code, response.json()["error"]["code"]) == (503, "engine_replacing")
    assert int(response.headers["retry-after"]) >= 1
    assert endpoint.get("/release").json()["engine"]["replacing"] is True
    assert 'tuneline_engine_replacing{endpoint="tiny"} 1.0' in endpoint.get("/metrics").text
    endpoint.untell("late-start")
    endpoint.applied(2)
    assert endpoint.ask().status_code == 200
    assert "no second one fits beside it" in (endpoint.workdir / "gateway.log").read_text()


def test_a_stopped_engine_is_noticed_killed_and_replaced_and_its_stream_ends_with_an_error(endpoint: Running) -> None:
    endpoint.release({"1": "one"}, "1", gateway=GatewayArguments(hang_seconds=2))
    endpoint.start().ready()
    endpoint.tell("tokens", "100000")
    pid = endpoint.engine_pid()
    assert pid is not None
    with endpoint.stream() as response:
        pieces = response.iter_text()
        next(pieces)
        os.kill(pid, signal.SIGSTOP)
        text = "".join(pieces)
    last = text.rstrip().rsplit("\n\n", 1)[-1]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "engine_unavailable"
    endpoint.tell("tokens", "3")
    wait_until(lambda: endpoint.engine_pid() not in (None, pid), "another engine")
    endpoint.ready()
    assert endpoint.ask().status_code == 200
    assert 'tuneline_engine_hangs_total{endpoint="tiny"} 1.0' in endpoint.get("/metrics").text


def test_a_standby_takes_over_and_another_is_prepared_and_none_is_left_behind(endpoint: Running) -> None:
    endpoint.env = {"TUNELINE_STANDBY": "on"}
    endpoint.release({"1": "one"}, "1")
    endpoint.start().ready()

    def waiting() -> list[psutil.Process]:
        return [p for p in running(endpoint.tree()) if (endpoint.stub / f"standby-{p.pid}").exists()]

    def spare() -> psutil.Process | None:
        return next((p for p in waiting() if p.pid != endpoint.engine_pid()), None)

    standby = wait_until(spare, "a standby")
    pid = endpoint.engine_pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: endpoint.engine_pid() == standby.pid, "the standby to take over")
    endpoint.ready()
    assert endpoint.ask().json()["choices"][0]["message"]["content"].startswith("one ")
    wait_until(spare, "another standby")
    tree = endpoint.tree()
    assert endpoint.process is not None
    endpoint.process.send_signal(signal.SIGTERM)
    assert endpoint.process.wait(30) == 0
    assert running(tree) == []


def test_told_to_stop_it_refuses_at_once_and_cuts_what_takes_longer_than_the_drain_time(endpoint: Running) -> None:
    endpoint.release({"1": "one"}, "1")
    endpoint.env = {"TUNELINE_DRAIN_SECONDS": "3"}
    endpoint.start().ready()
    endpoint.tell("tokens", "100000")
    assert endpoint.process is not None
    with endpoint.stream() as response:
        pieces = response.iter_text()
        next(pieces)
        endpoint.process.send_signal(signal.SIGTERM)
        refused = wait_until(lambda: (r := endpoint.ask()).status_code == 503 and r, "a refusal", 3)
        text = "".join(pieces)
    assert refused.json()["error"]["code"] == "stopping"
    assert refused.headers["connection"] == "close"
    assert int(refused.headers["retry-after"]) > 0
    last = text.rstrip().rsplit("\n\n", 1)[-1]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "stopping"
    assert endpoint.process.wait(30) == 0


def test_a_second_signal_ends_it_at_once(endpoint: Running) -> None:
    endpoint.release({"1": "one"}, "1")
    endpoint.start().ready()
    endpoint.tell("tokens", "100000")
    tree = endpoint.tree()
    assert endpoint.process is not None
    with endpoint.stream() as response:
        pieces = response.iter_text()
        next(pieces)
        endpoint.process.send_signal(signal.SIGTERM)
        wait_until(lambda: endpoint.ask(max_tokens=1).status_code == 503, "the first signal to be heard")
        endpoint.process.send_signal(signal.SIGTERM)
        assert endpoint.process.wait(10) == 0
    assert running(tree) == []


def test_a_deleted_history_and_an_unreadable_folder_change_nothing_and_it_recovers(endpoint: Running) -> None:
    endpoint.release({"1": "one"}, "1")
    endpoint.release({"2": "two"}, "2")
    endpoint.start().ready()
    releases = Path(endpoint.store) / "releases"
    newest = releases / "00000002.json"
    kept = newest.read_text()

    def error() -> str:
        return endpoint.get("/readyz", None).json()["error"] or ""

    newest.unlink()
    wait_until(lambda: "gone from the folder; the newest is 1" in error(), "the report")
    assert 'tuneline_release_error{endpoint="tiny"} 1.0' in endpoint.get("/metrics").text
    assert endpoint.ask().headers["x-tuneline-version"] == "2"
    newest.write_text(kept)
    wait_until(lambda: not error(), "the recovery")
    aside = releases.rename(releases.with_name("aside"))
    releases.write_text("no folder")
    wait_until(lambda: "could not be read" in error(), "the report")
    assert 'tuneline_release_error{endpoint="tiny"} 1.0' in endpoint.get("/metrics").text
    assert endpoint.get("/release").json()["error"]
    assert endpoint.ask().headers["x-tuneline-version"] == "2"
    releases.unlink()
    aside.rename(releases)
    wait_until(lambda: not error(), "the recovery")
    endpoint.release({"3": "three"}, "3")
    endpoint.applied(3)


def test_three_replicas_on_one_folder_converge_without_talking(endpoint: Running) -> None:
    endpoint.release({"1": "one"}, "1")
    others = [Running(Path(tempfile.mkdtemp(prefix="tls-")), store=endpoint.store) for _ in range(2)]
    replicas = [endpoint, *others]
    try:
        for replica in replicas:
            replica.start()
        for replica in replicas:
            replica.ready()
        for version in ("2", "3", "4"):
            endpoint.release({version: f"a{version}"}, version)
        for replica in replicas:
            replica.applied(4)
            assert replica.ask().headers["x-tuneline-version"] == "4"
            assert replica.engines() == 1
    finally:
        for replica in others:
            replica.stop()
            shutil.rmtree(replica.root, ignore_errors=True)
