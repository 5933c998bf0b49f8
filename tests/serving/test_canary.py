"""Who gets the challenger, when the gateway takes its traffic away, and what it leaves behind."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from serving.canary.ended import End, UnwrittenEnd
from serving.canary.guard import CanaryGuard
from serving.engine.supervisor import Engine
from serving.gateway.answer import Live
from serving.gateway.cache import ResponseCache
from serving.gateway.prompt_log import PromptLog
from serving.gateway.routing import place_of
from serving.metrics import Metrics
from serving.settings import Settings
from tests.serving.conftest import Running, wait_until
from tuneline.release import CanaryBounds, Release, ReleaseStore

BOUNDS = CanaryBounds(min_requests=20, ttft=2)
CANARY = {"challenger": "v2", "percent": 50, "bounds": BOUNDS}
CALLERS = [f"caller {number}" for number in range(2000)]


def drawn(percent: float, sha256: str = "a" * 64) -> set[str]:
    return {caller for caller in CALLERS if place_of(caller, "tiny", sha256) < percent}


@pytest.mark.parametrize("percent", [1, 10, 50])
def test_the_challenger_gets_its_share_of_the_callers(percent: float) -> None:
    expected = len(CALLERS) * percent / 100
    assert abs(len(drawn(percent)) - expected) < 4 * expected**0.5


def test_a_higher_percent_takes_callers_to_the_challenger_and_none_back() -> None:
    shares = [drawn(percent) for percent in (0, 1, 5, 25, 99.9, 100)]
    assert all(less <= more for less, more in itertools.pairwise(shares))
    assert (shares[0], shares[-1]) == (set(), set(CALLERS))


def test_another_challenger_draws_other_callers() -> None:
    both = drawn(10) & drawn(10, "b" * 64)
    assert len(both) < 50  # 20 by chance, 200 if they were the same


def ask_all(endpoint: Running, number: int = 120, **fields: Any) -> list[int]:
    """Statuses of one question from each of many callers."""
    with ThreadPoolExecutor(4) as pool:
        return [r.status_code for r in pool.map(lambda n: endpoint.ask(user=f"caller {n}", **fields), range(number))]


def releases(endpoint: Running) -> list[Release]:
    return ReleaseStore(f"{endpoint.store}/releases").history()


@pytest.mark.parametrize(
    ("fault", "value", "fields", "words"),
    [
        ("fail-two", "", {}, "failed"),
        ("empty-two", "", {}, "were empty"),
        ("tokens-two", "30", {"max_tokens": 20}, "were cut off"),
        ("wait-two", "0.2", {"stream": True}, "time to first token"),
    ],
)
def test_a_worse_challenger_loses_its_traffic_by_the_next_release(
    endpoint: Running, fault: str, value: str, fields: dict[str, Any], words: str
) -> None:
    judged = endpoint.release({"1": "one", "2": "two"}, "1", routes=CANARY)
    endpoint.start().ready()
    endpoint.tell(fault, value)  # not before: an adapter is loaded only if it answers
    ask_all(endpoint, **fields)
    endpoint.applied(2)
    last = releases(endpoint)[-1]
    assert last.author == "gateway of tiny"
    assert last.reason.startswith("canary of version 2 ended: ") and words in last.reason
    assert (last.routes.production, last.routes.challenger, last.routes.percent) == ("v1", None, 0)
    assert last.routes.bounds == BOUNDS
    assert set(last.adapters) == {"v1"}
    assert (last.base, last.engine, last.gateway) == (judged.base, judged.engine, judged.gateway)
    assert set(ask_all(endpoint, 20)) == {200}
    assert "tuneline_canary_aborts_total" in endpoint.get("/metrics").text
    assert len(releases(endpoint)) == 2


def test_an_equal_challenger_keeps_its_traffic_and_its_callers(endpoint: Running) -> None:
    endpoint.release({"1": "one", "2": "two"}, "1", routes=CANARY)
    endpoint.start().ready()
    first = {n: endpoint.ask(user=f"caller {n}").headers["x-tuneline-version"] for n in range(60)}
    again = {n: endpoint.ask(user=f"caller {n}", stream=True).headers["x-tuneline-version"] for n in range(60)}
    assert first == again and set(first.values()) == {"1", "2"}
    assert len({endpoint.ask().headers["x-tuneline-version"] for _ in range(10)}) == 1  # one key is one caller
    assert len(releases(endpoint)) == 1


def test_what_the_engine_refuses_counts_against_nobody(endpoint: Running) -> None:
    endpoint.release({"1": "one", "2": "two"}, "1", routes=CANARY)
    endpoint.start().ready()
    assert set(ask_all(endpoint, 30)) == {200}
    drawn = next(n for n in range(60) if endpoint.ask(user=f"caller {n}").headers["x-tuneline-version"] == "2")
    assert {endpoint.ask(user=f"caller {drawn}", seed=13).status_code for _ in range(30)} == {422}
    assert endpoint.ask(user=f"caller {drawn}").headers["x-tuneline-version"] == "2"
    assert len(releases(endpoint)) == 1


def test_an_engine_that_dies_ends_no_canary(endpoint: Running) -> None:
    import psutil

    endpoint.release({"1": "one", "2": "two"}, "1", routes=CANARY | {"percent": 100})
    endpoint.start().ready()
    ask_all(endpoint, 30)
    endpoint.tell("wait-two", "5")
    with ThreadPoolExecutor(30) as pool:
        asked = [pool.submit(endpoint.ask, user=f"caller {n}") for n in range(30)]
        wait_until(lambda: sum("chat" in seen.get("path", "") for seen in endpoint.engine_saw()) == 60, "the questions")
        pid = endpoint.engine_pid()
        assert pid is not None
        psutil.Process(pid).kill()
        assert {answer.result().status_code for answer in asked} == {503}
    endpoint.untell("wait-two")
    endpoint.ready()
    assert set(ask_all(endpoint, 10)) == {200}
    assert len(releases(endpoint)) == 1


@pytest.fixture
def replica(endpoint: Running) -> Iterator[Running]:
    """A second endpoint process on the same folder."""
    root = Path(tempfile.mkdtemp(prefix="tls-"))
    made = Running(root, store=endpoint.store)
    try:
        yield made
    finally:
        made.stop()
        shutil.rmtree(root, ignore_errors=True)


def test_two_replicas_end_a_canary_once(endpoint: Running, replica: Running) -> None:
    endpoint.release({"1": "one", "2": "two"}, "1", routes=CANARY)
    endpoint.start()
    replica.start()
    endpoint.ready()
    replica.ready()
    for one in (endpoint, replica):
        one.tell("fail-two")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(ask_all, (endpoint, replica)))
    for one in (endpoint, replica):
        one.applied(2)
        assert set(ask_all(one, 10)) == {200}
    assert len(releases(endpoint)) == 2


def test_where_the_end_cannot_be_written_the_challenger_gets_nobody_and_it_is_tried_again(endpoint: Running) -> None:
    endpoint.release({"1": "one", "2": "two"}, "1", routes=CANARY)
    endpoint.start().ready()
    endpoint.tell("fail-two")
    folder = Path(endpoint.store) / "releases"
    aside = folder.with_name("aside")
    folder.rename(aside)
    folder.write_text("no folder")  # root may write everywhere, but not into a file
    ask_all(endpoint)
    assert set(ask_all(endpoint, 30)) == {200}
    error = wait_until(lambda: endpoint.get("/readyz", None).json()["error"], "the error")
    assert error
    folder.unlink()
    aside.rename(folder)
    endpoint.applied(2)
    assert json.loads((folder / "00000002.json").read_text())["author"] == "gateway of tiny"
    wait_until(lambda: endpoint.get("/readyz", None).json()["error"] is None, "the error to be gone")


def test_an_end_that_could_not_be_written_is_written_after_a_restart(endpoint: Running) -> None:
    endpoint.release({"1": "one", "2": "two"}, "1", routes=CANARY)
    endpoint.start().ready()
    endpoint.tell("fail-two")
    folder = Path(endpoint.store) / "releases"
    folder.rename(folder.with_name("aside"))  # as where a mount is gone
    ask_all(endpoint)
    wait_until(lambda: endpoint.get("/readyz", None).json()["error"], "the error")
    remembered = endpoint.workdir / "ended-canary.json"
    wait_until(remembered.exists, "the end to be remembered")
    endpoint.stop()
    folder.with_name("aside").rename(folder)
    endpoint.start().ready()
    endpoint.applied(2)  # although nobody has asked anything
    assert releases(endpoint)[-1].reason.startswith("canary of version 2 ended: ")
    wait_until(lambda: not remembered.exists(), "it to be forgotten")


def test_a_release_whose_canary_has_ended_is_applied_without_its_challenger(endpoint: Running, tmp_path: Path) -> None:
    settings = Settings("tiny", str(tmp_path), tmp_path)
    metrics = Metrics("tiny")
    engine = Engine(settings, metrics)
    live = Live("tiny", engine, ResponseCache(metrics), PromptLog(tmp_path / "prompts.jsonl"))
    judged = endpoint.release({"1": "one", "2": "two"}, "1", routes=CANARY)
    UnwrittenEnd(tmp_path).keep(End(judged=judged, bound="errors", reason="it failed"))

    async def restarted() -> None:
        guard = CanaryGuard(settings, live, metrics)
        guard.start()
        await guard.stop()

    asyncio.run(restarted())
    again = live.apply(Release.model_validate_json(judged.model_dump_json()), engine)
    assert again.challenger is None and again.traffic() == {"1": 100.0}
    assert again.pinned("2").version == "2"
    another = live.apply(judged.model_copy(update={"sequence": 2}), engine)
    assert another.challenger is not None and another.traffic() == {"1": 50.0, "2": 50.0}


def test_a_remembered_end_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    (tmp_path / "ended-canary.json").write_text('{"judged": ')
    assert UnwrittenEnd(tmp_path).read() is None
