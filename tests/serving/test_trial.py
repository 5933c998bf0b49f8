"""A version that needs another engine is proven in it beside production, which nobody notices."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import httpx
import psutil
import pytest

from tests.serving.conftest import Running, running, wait_until
from tests.serving.test_engine_change import TOO_LARGE
from tuneline.release import BaseRef, EngineArguments, Release
from tuneline.release.document import Trial


@pytest.fixture
def on_trial(endpoint: Running) -> Callable[..., Release]:
    """Release version 1 in production and version 2, a whole model, on trial."""

    def write(engine: EngineArguments | None = None) -> Release:
        trial = Trial(base=whole(endpoint), engine=engine or EngineArguments(), adapter=endpoint.reference("two", "2"))
        return endpoint.release({"1": "one"}, "1", trial=trial)

    return write


def whole(endpoint: Running) -> BaseRef:
    folder = endpoint.root / "merged"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text('{"other": true}')
    return BaseRef(model=str(folder))


def pinned(endpoint: Running, version: str) -> httpx.Response:
    return endpoint.ask(headers={"x-tuneline-version": version}, temperature=0)


def text(response: httpx.Response) -> str:
    said: str = response.json()["choices"][0]["message"]["content"]
    return said


@contextmanager
def clients(endpoint: Running) -> Iterator[set[str]]:
    """Somebody asks all the time; yields which versions answered, or what was wrong."""
    stop, seen = threading.Event(), set[str]()

    def ask() -> None:
        while not stop.is_set():
            response = endpoint.ask()
            seen.add(response.headers["x-tuneline-version"] if response.status_code == 200 else response.text)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_production_answers_while_the_trial_is_proven_and_then_the_trials_engine_goes_on_alone(
    endpoint: Running, on_trial: Callable[..., Release]
) -> None:
    endpoint.release({"1": "one"}, "1")
    endpoint.start().ready()
    first = endpoint.engine_pid()
    with clients(endpoint) as seen:
        on_trial()
        endpoint.applied(2)
        assert text(pinned(endpoint, "2")).startswith("two ")
        assert text(pinned(endpoint, "1")).startswith("one ")
        assert endpoint.ask().headers["x-tuneline-version"] == "1"
        assert endpoint.engine_pid() == first
        assert seen == {"1"}
        endpoint.release({"2": "two"}, "2", base=whole(endpoint))
        endpoint.applied(3)
        wait_until(lambda: endpoint.ask().headers["x-tuneline-version"] == "2", "version 2")
    assert seen <= {"1", "2"}
    assert endpoint.engines() == 2, "the engine of the trial was not started again"
    assert endpoint.engine_pid() != first
    wait_until(lambda: len(engines(endpoint)) == 1, "the old engine to end")


def engines(endpoint: Running) -> list[int]:
    found = []
    for process in running(endpoint.tree()):
        with suppress(psutil.NoSuchProcess):  # it is ending just now
            if "stub_engine.py" in " ".join(process.cmdline()[:3]):
                found.append(process.pid)
    return found


def test_a_withdrawn_trial_leaves_production_and_takes_its_engine_along(
    endpoint: Running, on_trial: Callable[..., Release]
) -> None:
    endpoint.release({"1": "one"}, "1")
    endpoint.start().ready()
    first = endpoint.engine_pid()
    on_trial()
    endpoint.applied(2)
    assert len(engines(endpoint)) == 2
    endpoint.release({"1": "one"}, "1")
    endpoint.applied(3)
    wait_until(lambda: engines(endpoint) == [first], "the trial's engine to end")
    assert pinned(endpoint, "2").status_code == 404
    assert endpoint.ask().headers["x-tuneline-version"] == "1"


def test_a_trial_that_does_not_start_is_told_and_production_goes_on(
    endpoint: Running, on_trial: Callable[..., Release]
) -> None:
    endpoint.release({"1": "one"}, "1")
    endpoint.start().ready()
    endpoint.tell("refuse-two")
    on_trial()
    wait_until(
        lambda: "release 2 could not be applied" in (endpoint.get("/release").json()["error"] or ""), "the error"
    )
    assert endpoint.get("/release").json()["sequence"] == 1
    assert endpoint.ask().headers["x-tuneline-version"] == "1"
    assert len(engines(endpoint)) == 1


def test_an_endpoint_that_starts_with_a_trial_answers_from_production_first(
    endpoint: Running, on_trial: Callable[..., Release]
) -> None:
    endpoint.release({"1": "one"}, "1")
    on_trial()
    endpoint.start().ready()
    endpoint.applied(2)
    assert endpoint.ask().headers["x-tuneline-version"] == "1"
    assert text(pinned(endpoint, "2")).startswith("two ")


def test_without_room_for_two_engines_the_trial_has_the_place_until_it_is_decided(
    endpoint: Running, on_trial: Callable[..., Release]
) -> None:
    endpoint.release({"1": "one"}, "1")
    endpoint.start().ready()
    on_trial(TOO_LARGE)
    endpoint.applied(2)
    assert endpoint.ask().json()["error"]["code"] == "no_production_version"
    assert text(pinned(endpoint, "2")).startswith("two ")
    assert len(engines(endpoint)) == 1
    endpoint.release({"1": "one"}, "1")
    endpoint.applied(3)
    assert endpoint.ask().headers["x-tuneline-version"] == "1"
    assert len(engines(endpoint)) == 1


def test_what_was_kept_of_production_is_never_the_answer_of_a_trial_with_the_same_adapter(
    endpoint: Running,
) -> None:
    kept = endpoint.release({"1": "one"}, "1").gateway.model_copy(update={"cache_mib": 4})
    trial = Trial(base=whole(endpoint), engine=EngineArguments(), adapter=endpoint.reference("one", "2"))
    endpoint.release({"1": "one"}, "1", trial=trial, gateway=kept)
    endpoint.start().ready()
    endpoint.applied(2)
    for version, cached in (("1", "miss"), ("1", "hit"), ("2", None), ("2", None)):
        response = pinned(endpoint, version)
        assert (response.headers["x-tuneline-version"], response.headers.get("x-tuneline-cache")) == (version, cached)
