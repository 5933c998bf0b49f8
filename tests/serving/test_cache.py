"""The response cache: the same deterministic question to the same version is answered once, and only then."""

from __future__ import annotations

import os
import signal
from typing import Any

import httpx
import pytest

from tests.serving.conftest import QUESTION, Running, wait_until
from tuneline.release.gateway import GatewayArguments

CACHE = GatewayArguments(cache_mib=1)
SURE: dict[str, Any] = {"temperature": 0}


@pytest.fixture
def cached(served: Running) -> Running:
    """The endpoint with an empty cache: without one for a moment."""
    applied(served, gateway=GatewayArguments())
    return applied(served)


def applied(served: Running, production: str = "1", **changes: Any) -> Running:
    adapters = {"1": "one", "2": "two"}
    served.applied(served.release(adapters, production, **({"gateway": CACHE} | changes)).sequence)
    return served


def asked(served: Running) -> int:
    """How many questions the engine has got."""
    return len([seen for seen in served.engine_saw() if seen.get("path", "").startswith("/v1/") and is_question(seen)])


def is_question(seen: dict[str, Any]) -> bool:
    return "messages" in seen["body"] and seen["body"]["messages"][-1] == QUESTION["messages"][-1]


def said(response: httpx.Response) -> str | None:
    return response.headers.get("x-tuneline-cache")


def metric(served: Running, name: str) -> float:
    lines = [line for line in served.get("/metrics").text.splitlines() if line.startswith(name)]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def test_a_deterministic_question_is_answered_once_by_the_engine_and_then_from_memory(cached: Running) -> None:
    before = asked(cached)
    first, second = cached.ask(**SURE), cached.ask(**SURE)
    assert (said(first), said(second)) == ("miss", "hit")
    assert second.content == first.content
    assert second.headers["x-tuneline-version"] == "1"
    assert second.headers["x-request-id"] != first.headers["x-request-id"]
    assert asked(cached) == before + 1


@pytest.mark.parametrize("fields", [{}, {"temperature": 0.1}, {"temperature": 0, "prompt_logprobs": 1}])
def test_what_may_come_out_differently_is_asked_each_time(cached: Running, fields: dict[str, Any]) -> None:
    assert [said(cached.ask(**fields)) for _ in range(2)] == [None, None]


def test_any_difference_between_two_questions_is_one(cached: Running) -> None:
    cached.ask(**SURE)
    for fields in ({"max_tokens": 3}, {"seed": 5}, {"user": "somebody"}, {"messages": [QUESTION["messages"][0]] * 2}):
        assert said(cached.ask(**SURE, **fields)) == "miss"


def test_an_answer_is_never_another_versions(cached: Running) -> None:
    cached.ask(**SURE)
    other = cached.ask(**SURE, headers={"x-tuneline-version": "2"})
    assert (said(other), other.headers["x-tuneline-version"]) == ("miss", "2")
    assert other.json()["choices"][0]["message"]["content"].startswith("two ")
    again = cached.ask(**SURE, headers={"x-tuneline-version": "2"})
    assert (said(again), again.headers["x-tuneline-version"]) == ("hit", "2")


def test_a_stream_is_played_again_as_a_stream_and_is_not_the_plain_answer(cached: Running) -> None:
    cached.ask(**SURE)
    texts = []
    for expected in ("miss", "hit"):
        with cached.stream(**SURE, stream_options={"include_usage": False}) as response:
            assert said(response) == expected
            assert response.headers["content-type"].startswith("text/event-stream")
            texts.append(response.read())
    assert texts[0] == texts[1]
    assert texts[0].endswith(b"data: [DONE]\n\n")
    assert b'"usage"' not in texts[1]
    with cached.stream(**SURE, stream_options={"include_usage": True}) as response:
        assert said(response) == "miss"  # it looks the same to the engine, but not to the client
        assert b'"usage"' in response.read()


def test_what_was_not_answered_whole_is_not_kept(cached: Running) -> None:
    cached.tell("fail-one")
    assert cached.ask(**SURE).status_code == 503
    cached.untell("fail-one")
    assert said(cached.ask(**SURE)) == "miss"
    cached.tell("tokens", "3000")
    engine = cached.engine_pid()
    assert engine is not None
    with cached.stream(**SURE) as response:
        pieces = response.iter_bytes()
        next(pieces)
        os.kill(engine, signal.SIGKILL)
        assert b'"engine_unavailable"' in b"".join(pieces)
    cached.untell("tokens")
    wait_until(lambda: cached.engine_pid() not in (None, engine), "another engine")
    cached.ready()
    with cached.stream(**SURE) as response:
        assert said(response) == "miss"
        response.read()


def test_a_hit_needs_no_engine_and_is_counted_as_an_answer(cached: Running) -> None:
    cached.ask(**SURE)
    hits = metric(cached, 'tuneline_cache_lookups_total{endpoint="tiny",result="hit"')
    answers = metric(cached, "tuneline_answers_total")
    cached.tell("hang")
    try:
        assert cached.ask(**SURE).status_code == 200
    finally:
        cached.untell("hang")
    assert metric(cached, 'tuneline_cache_lookups_total{endpoint="tiny",result="hit"') == hits + 1
    assert metric(cached, "tuneline_answers_total") == answers + 1


def test_what_was_asked_longest_ago_goes_when_the_memory_is_full(cached: Running) -> None:
    cached.tell("tokens", "8000")  # about 450 kB an answer
    cached.tell("token-seconds", "0")
    try:
        for user in "ab":
            cached.ask(**SURE, user=user)
        assert said(cached.ask(**SURE, user="a")) == "hit"
        cached.ask(**SURE, user="c")
        assert 0 < metric(cached, "tuneline_cache_bytes") <= 2**20
        assert said(cached.ask(**SURE, user="a")) == "hit"
        assert said(cached.ask(**SURE, user="b")) == "miss"
    finally:
        cached.untell("tokens")
        cached.tell("token-seconds", "0.002")


def test_the_answers_of_a_version_go_with_it_and_the_others_stay(cached: Running) -> None:
    cached.ask(**SURE)
    cached.ask(**SURE, headers={"x-tuneline-version": "2"})
    both = metric(cached, "tuneline_cache_bytes")
    cached.applied(cached.release({"1": "one"}, "1", gateway=CACHE).sequence)
    assert 0 < metric(cached, "tuneline_cache_bytes") < both
    assert said(cached.ask(**SURE)) == "hit"


def test_a_release_turns_it_off_and_empties_it(cached: Running) -> None:
    cached.ask(**SURE)
    applied(cached, gateway=GatewayArguments())
    wait_until(lambda: metric(cached, "tuneline_cache_bytes") == 0, "the cache to be empty")
    assert said(cached.ask(**SURE)) is None
