"""Files that are late, old, gone for a while or not what they say: what is live goes on, and recovers by itself."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.serving.conftest import Running, running, wait_until
from tuneline.release import ReleaseStore


def live(endpoint: Running) -> Running:
    endpoint.release({"1": "one"}, "1")
    return endpoint.start().ready()


@contextmanager
def asked_throughout(endpoint: Running) -> Iterator[list[int]]:
    """Two clients that ask without pause; the statuses they got."""
    statuses: list[int] = []
    stop = threading.Event()

    def client() -> None:
        while not stop.is_set():
            statuses.append(endpoint.ask().status_code)

    clients = [threading.Thread(target=client) for _ in range(2)]
    for thread in clients:
        thread.start()
    try:
        yield statuses
    finally:
        stop.set()
        for thread in clients:
            thread.join()


def test_storage_that_is_gone_for_a_while_stops_no_answer_and_is_followed_again_when_it_is_back(
    endpoint: Running,
) -> None:
    live(endpoint)
    folder, away = Path(endpoint.store), endpoint.root / "away"
    with asked_throughout(endpoint) as statuses:
        folder.rename(away)
        folder.write_text("not a folder")  # so that listing it fails, as a store that does not answer does
        wait_until(lambda: endpoint.get("/readyz", None).json()["error"], "the error")
        assert endpoint.get("/readyz", None).status_code == 200
        wait_until(lambda: len(statuses) > 50, "answers")
        folder.unlink()
        away.rename(folder)
        endpoint.release({"2": "two"}, "2")
        endpoint.applied(2)
    assert set(statuses) == {200}
    wait_until(lambda: endpoint.get("/readyz", None).json()["error"] is None, "the error to be withdrawn")


def test_a_release_file_that_is_still_being_written_is_applied_once_it_is_whole(endpoint: Running) -> None:
    live(endpoint)
    store = ReleaseStore(f"{endpoint.store}/releases")
    whole = store.read(1).model_copy(update={"sequence": 2, "reason": "written in two pieces"}).model_dump_json()
    file = Path(endpoint.store) / "releases" / "00000002.json"
    file.write_text(whole[: len(whole) // 2])
    wait_until(lambda: endpoint.get("/readyz", None).json()["error"], "the error")
    assert endpoint.ask().headers["x-tuneline-version"] == "1"
    file.write_text(whole)
    endpoint.applied(2)
    wait_until(lambda: endpoint.get("/readyz", None).json()["error"] is None, "the error to be withdrawn")


def test_an_older_release_that_turns_up_late_changes_nothing(endpoint: Running) -> None:
    live(endpoint)
    endpoint.release({"2": "two"}, "2")
    endpoint.release({"3": "three"}, "3")
    endpoint.applied(3)
    second = Path(endpoint.store) / "releases" / "00000002.json"
    late = json.loads(second.read_text())
    late["routes"]["production"], late["reason"] = None, "late"
    second.write_text(json.dumps(late))
    endpoint.release({"4": "four"}, "4")
    endpoint.applied(4)
    assert endpoint.ask().headers["x-tuneline-version"] == "4"
    assert endpoint.engines() == 1


def test_an_adapter_changed_on_disk_after_it_was_loaded_is_not_what_a_new_engine_gets(endpoint: Running) -> None:
    live(endpoint)
    (endpoint.root / "adapters" / "one" / "adapter_config.json").write_text(json.dumps({"name": "forged"}))
    old = endpoint.tree()[1:]
    gateway = next(process for process in old if "serving.worker" in process.cmdline())
    gateway.kill()
    wait_until(lambda: running(old) == [], "the old tree to be gone")
    wait_until(endpoint.answers, "the gateway")
    wait_until(
        lambda: (found := endpoint.get("/readyz", None).json())["error"] or found["ready"], "the release to be tried"
    )
    response = endpoint.ask()
    assert response.status_code == 503 or response.json()["choices"][0]["message"]["content"].startswith("one ")
    assert "forged" not in response.text
