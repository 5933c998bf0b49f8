"""Who is let in by a running endpoint, what of a request it refuses, and who waits for how long."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serving.conftest import QUESTION, Running, key, wait_until
from tuneline.release import EngineArguments, GatewayArguments
from tuneline.release.keys import Key, KeyStore

CHAT = "/v1/chat/completions"
Limit = Callable[..., Running]


@pytest.fixture(scope="module")
def gate() -> Iterator[Running]:
    """One endpoint for all tests of this file; each writes a release with the limits that it is about."""
    root = Path(tempfile.mkdtemp(prefix="tls-"))
    made = Running(root)
    made.write_keys()
    made.release({"1": "one"}, "1")
    try:
        yield made.start().ready()
    finally:
        made.stop()
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def limit(gate: Running) -> Iterator[Limit]:
    """Apply gateway arguments; the engine and its adapter stay."""

    def limited(**arguments: Any) -> Running:
        gate.applied(gate.release({"1": "one"}, "1", gateway=GatewayArguments(**arguments)).sequence)
        return gate

    yield limited
    limited()


def error(response: httpx.Response) -> dict[str, Any]:
    found: dict[str, Any] = response.json()["error"]
    assert set(found) == {"message", "type", "param", "code"}
    return found


def metric(endpoint: Running, line: str) -> float:
    found = [text for text in endpoint.get("/metrics").text.splitlines() if text.startswith(line)]
    return float(found[0].rsplit(" ", 1)[1]) if found else 0.0


def parallel(endpoint: Running, number: int, who: str = "all", **fields: Any) -> list[httpx.Response]:
    async def all_at_once() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=number)
        headers = {"authorization": f"Bearer {key(who)}"}
        async with httpx.AsyncClient(limits=limits, headers=headers, timeout=60) as client:
            return await asyncio.gather(
                *(client.post(endpoint.url + CHAT, json=QUESTION | fields) for _ in range(number))
            )

    return asyncio.run(all_at_once())


@contextmanager
def telling(endpoint: Running, **said: str) -> Iterator[None]:
    """Tell the stub something for a while."""
    for name, text in said.items():
        endpoint.tell(name, text)
    try:
        yield
    finally:
        for name in said:
            endpoint.untell(name)


def asked(endpoint: Running, request_id: str) -> list[dict[str, Any]]:
    """The bodies that the engine got for one request."""
    return [seen["body"] for seen in endpoint.engine_saw() if seen.get("headers", {}).get("x-request-id") == request_id]


def test_of_200_questions_at_once_exactly_as_many_are_answered_as_the_key_has_per_minute(limit: Limit) -> None:
    endpoint = limit(requests_per_minute=50)
    before = metric(endpoint, 'tuneline_refused_total{endpoint="tiny",reason="requests_per_minute"}')
    answers = parallel(endpoint, 200)
    assert Counter(answer.status_code for answer in answers) == {200: 50, 429: 150}
    for answer in answers:
        assert answer.headers["x-ratelimit-limit-requests"] == "50"
        if answer.status_code == 429:
            assert error(answer)["type"] == "rate_limit_error"
            assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert sorted(int(a.headers["x-ratelimit-remaining-requests"]) for a in answers if a.status_code == 200) == [
        *range(50)
    ]
    assert endpoint.ask("inference").status_code == 200  # another key has its own
    assert metric(endpoint, 'tuneline_refused_total{endpoint="tiny",reason="requests_per_minute"}') - before == 150


def test_tokens_are_settled_to_the_engines_own_count(limit: Limit) -> None:
    endpoint = limit(tokens_per_minute=2000)
    # The stub says 7 + 5 tokens; set aside are 1,000 and a third of the question's 21 bytes.
    _key_file(endpoint, "metered")
    for number, stream in enumerate((False, True, False)):
        answer = endpoint.ask("metered", stream=stream, max_tokens=1000)
        assert answer.status_code == 200
        assert int(answer.headers["x-ratelimit-remaining-tokens"]) == 2000 - 12 * number - 1007
    refused = endpoint.ask("metered", max_tokens=1992)
    assert (refused.status_code, error(refused)["code"]) == (429, "rate_limit_exceeded")
    never = endpoint.ask("metered", max_tokens=2001)
    assert (never.status_code, error(never)["code"]) == (422, "larger_than_limit")


def test_more_than_may_wait_are_refused_and_no_more_than_fit_are_in_the_engine(limit: Limit) -> None:
    endpoint = limit(max_running=2, max_waiting=3)
    with telling(endpoint, tokens="150"):
        answers = parallel(endpoint, 9)
    assert Counter(answer.status_code for answer in answers) == {200: 5, 503: 4}
    for answer in answers:
        if answer.status_code == 503:
            assert error(answer)["code"] == "queue_full"
            assert int(answer.headers["retry-after"]) > 0
    assert metric(endpoint, "tuneline_running_requests") == metric(endpoint, "tuneline_waiting_requests") == 0


def test_who_waits_too_long_is_told_so(limit: Limit) -> None:
    endpoint = limit(max_running=1, wait_seconds=0.2)
    with telling(endpoint, tokens="400"):
        answers = parallel(endpoint, 2)
    assert sorted(answer.status_code for answer in answers) == [200, 503]
    assert {error(answer)["code"] for answer in answers if answer.status_code == 503} == {"queue_deadline"}


def test_a_client_that_leaves_while_it_waits_leaves_the_queue_and_is_never_asked_about(limit: Limit) -> None:
    endpoint = limit(max_running=1)
    with telling(endpoint, tokens="100000"), endpoint.stream() as response:
        pieces = response.iter_bytes()  # kept, since httpx closes the connection with it
        next(pieces)
        url, headers = endpoint.url + CHAT, {"authorization": f"Bearer {key('all')}", "x-request-id": "impatient"}
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(url, json=QUESTION, headers=headers, timeout=0.5)
        wait_until(lambda: metric(endpoint, "tuneline_waiting_requests") == 0, "the queue to be empty")
        assert metric(endpoint, "tuneline_running_requests") == 1
    assert endpoint.ask().status_code == 200
    assert asked(endpoint, "impatient") == []


def test_the_releases_limits_hold_for_every_request_and_change_with_the_release(limit: Limit) -> None:
    endpoint = limit(max_tokens=20, max_n=2, max_stop=2, max_logprobs=3, max_prompt_chars=40, max_body_bytes=1024)
    text = {"model": "tiny", "prompt": "x"}
    for param, fields in {
        "max_tokens": {"max_tokens": 21},
        "max_completion_tokens": {"max_completion_tokens": 21},
        "n": {"n": 3},
        "stop": {"stop": ["a", "b", "c"]},
        "top_logprobs": {"logprobs": True, "top_logprobs": 4},
        "messages": {"messages": [{"role": "user", "content": "x" * 41}]},
    }.items():
        refused = endpoint.ask(**fields)
        assert (refused.status_code, error(refused)["param"], error(refused)["code"]) == (422, param, "above_limit")
    for param, fields in {"prompt": {"prompt": "x" * 41}, "logprobs": {"logprobs": 4}}.items():
        refused = endpoint.post("/v1/completions", text | fields)
        assert (refused.status_code, error(refused)["param"]) == (422, param)
    assert endpoint.ask(max_tokens=20, n=2, stop=["a", "b"], logprobs=True, top_logprobs=3).status_code == 200
    limit()
    assert endpoint.ask(max_tokens=21, n=3, stop=["a", "b", "c"]).status_code == 200


def test_a_question_that_names_no_length_gets_the_longest(limit: Limit) -> None:
    endpoint = limit(max_tokens=20)
    for name, fields in {"unnamed": {}, "named": {"max_tokens": 3}, "named-anew": {"max_completion_tokens": 4}}.items():
        assert endpoint.ask(headers={"x-request-id": name}, **fields).status_code == 200
        (body,) = asked(endpoint, name)
        named = {field: body[field] for field in ("max_tokens", "max_completion_tokens") if field in body}
        assert named == (fields or {"max_tokens": 20})


def test_a_large_body_is_refused_before_it_was_sent(limit: Limit) -> None:
    endpoint = limit(max_body_bytes=2048)
    assert endpoint.ask(messages=[{"role": "user", "content": "x" * 1500}]).status_code == 200
    host, port = endpoint.url.removeprefix("http://").split(":")
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key('all')}\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(f"{head}content-length: 2049\r\n\r\n".encode())
        assert b" 413 " in connection.recv(1000)
    with socket.create_connection((host, int(port)), timeout=10) as connection:  # one that does not say how long it is
        connection.sendall(f"{head}transfer-encoding: chunked\r\n\r\n".encode() + b"900\r\n" + b" " * 0x900 + b"\r\n")
        assert b" 413 " in connection.recv(1000)


BODIES = [
    b'"temperature":NaN', b'"temperature":1e999', b'"temperature":-0.1', b'"temperature":2.1', b'"top_p":0',
    b'"top_p":1.1', b'"presence_penalty":2.5', b'"frequency_penalty":-Infinity', b'"repetition_penalty":0',
    b'"seed":9223372036854775808', b'"max_tokens":0', b'"max_tokens":100000000000000000000', b'"stop":""',
    b'"stop":["a",""]', b'"min_tokens":9,"max_tokens":3', b'"logit_bias":{"one":1}', b'"logit_bias":{"1":101}',
    b'"user":"\\ud800"', b'"user":"\\u0000"', b'"top_k":-2', b'"min_p":1.5', b'"n":2,"temperature":0',
    b'"stop_token_ids":[99999999999]', b'"stream_options":{"include_usage":true}', b'"store":true',
    b'"tools":[{"type":"function","function":{"name":"a b"}}]', b'"tools":[{"type":"retrieval"}]',
    b'"tools":[{"type":"function","function":{"name":"f","parameters":{"x":NaN}}}]', b'"tool_choice":"auto"',
    b'"tools":' + b"[" * 10000 + b"]" * 10000, b'"response_format":{"type":"structural_tag"}',
    b'"response_format":{"type":"json_schema","json_schema":{"name":"n"}}', b'"top_logprobs":2',
    b'"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":' + b'{"a":' * 99 + b"1" + b"}" * 101,
]  # fmt: skip


@pytest.mark.parametrize("field", BODIES, ids=lambda field: field[:40].decode())
def test_what_the_engine_could_not_take_is_refused_before_it(gate: Running, field: bytes) -> None:
    body = json.dumps(QUESTION).encode()[:-1] + b"," + field + b"}"
    headers = {"authorization": f"Bearer {key('all')}", "x-request-id": f"bad-{BODIES.index(field)}"}
    response = httpx.post(gate.url + CHAT, content=body, headers=headers)
    assert response.status_code == 422, response.text
    assert error(response)["type"] == "invalid_request_error"
    assert asked(gate, headers["x-request-id"]) == []


def test_only_what_is_not_json_is_a_400(gate: Running) -> None:
    headers = {"authorization": f"Bearer {key('all')}"}
    for body, status in (
        (b"", 400),
        (b"{", 400),
        (b'{"model":"\xff"}', 400),
        (b"[]", 422),
        (b"null", 422),
        (b"{}", 422),
    ):
        assert httpx.post(gate.url + CHAT, content=body, headers=headers).status_code == status


def test_what_clients_send_by_themselves_is_taken_and_not_passed_on(limit: Limit) -> None:
    endpoint = limit()
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": True}}
    call = {"id": "c1", "type": "function", "index": 0, "function": {"name": "f", "arguments": "{}"}}
    nothing = {"refusal": None, "annotations": None, "audio": None, "function_call": None, "reasoning_content": None}
    schema = {"name": "n", "schema": {"type": "object"}, "strict": True}
    answer = endpoint.ask(
        headers={"x-request-id": "by-themselves"},
        messages=[
            *QUESTION["messages"],
            {"role": "assistant", "content": None, "tool_calls": [call], **nothing},
            {"role": "tool", "tool_call_id": "c1", "content": "done"},
        ],
        tools=[tool],
        tool_choice="auto",
        parallel_tool_calls=True,
        n=1,
        user="u",
        stream=True,
        response_format={"type": "json_schema", "json_schema": schema},
        max_completion_tokens=5,
        seed=1,
        metadata={"a": "b"},
        store=False,
        service_tier="auto",
        stream_options={"include_usage": True},
    )
    assert answer.status_code == 200, answer.text
    (body,) = asked(endpoint, "by-themselves")
    assert not {"metadata", "store", "service_tier"} & set(body)
    assert body["messages"][1] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [{name: value for name, value in call.items() if name != "index"}],
    }
    assert body["tools"] == [tool]
    assert body["response_format"]["json_schema"] == schema


def _key_file(endpoint: Running, name: str, **changes: Any) -> None:
    """Write a key's own file and wait until the endpoint knows it, or refuses it."""
    digest = hashlib.sha256(key(name).encode()).hexdigest()
    entry = Key(id=f"k-{name}", name=name, sha256=digest, scopes=frozenset({"inference"}), **changes)
    store = KeyStore(endpoint.store)
    store.refresh()
    store.write(entry)

    def known() -> bool:
        answer = endpoint.get("/release", name)
        if entry.state() == "active":
            return answer.status_code == 200
        return answer.status_code == 401 and error(answer)["code"] == f"{entry.state()}_api_key"

    wait_until(known, f"key {name} to be read")


def test_a_revoked_key_is_refused_within_two_seconds_and_an_expired_one_too(gate: Running) -> None:
    _key_file(gate, "leaver")
    began = time.monotonic()
    _key_file(gate, "leaver", revoked_at=datetime.now(UTC))
    assert time.monotonic() - began < 5  # it is read every second; the machine may be busy
    _key_file(gate, "guest", expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert gate.get("/release", "all").status_code == 200  # keys.json is read beside them


def test_a_broken_key_file_keeps_its_last_good_key_and_no_other_from_being_read(gate: Running) -> None:
    _key_file(gate, "fine")
    file = next(path for path in (Path(gate.store) / "keys").iterdir() if "k-fine" in path.read_text())
    good = file.read_text()
    file.write_text("{")
    wait_until(lambda: "keys could not be read" in (gate.get("/readyz", None).json()["error"] or ""), "the report")
    assert gate.get("/release", "fine").status_code == 200
    _key_file(gate, "newcomer")
    file.write_text(good)
    wait_until(lambda: gate.get("/readyz", None).json()["error"] is None, "the report to end")


def test_keys_are_read_while_a_release_is_being_applied(endpoint: Running) -> None:
    endpoint.tell("slow-start")
    endpoint.release({"1": "one"}, "1", engine=EngineArguments())
    endpoint.start()
    wait_until(lambda: endpoint.engines() == 1, "the engine to be on its way")
    _key_file(endpoint, "early")
    endpoint.untell("slow-start")


def test_a_thousand_clients_that_never_finish_their_request_keep_nobody_waiting(gate: Running) -> None:
    host, port = gate.url.removeprefix("http://").split(":")
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key('all')}\r\n"
    slow = [socket.create_connection((host, int(port))) for _ in range(1000)]
    try:
        for number, connection in enumerate(slow):
            connection.sendall((head if number % 2 else f"{head}content-length: 100\r\n\r\n{{").encode())
        began = time.monotonic()
        assert gate.ask().status_code == 200
        assert time.monotonic() - began < 5
    finally:
        for connection in slow:
            connection.close()
