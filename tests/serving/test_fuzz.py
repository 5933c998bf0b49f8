"""Nothing a client sends breaks the endpoint or shows its inside: the fixed share of ``python -m benchmarks.fuzz``.

``TUNELINE_FUZZ_REQUESTS=10000`` makes it the whole run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import httpx
import psutil
import pytest

from benchmarks.fuzz import Fuzz
from benchmarks.stub import inside
from tests.serving.conftest import Running, key, wait_until

REQUESTS = int(os.environ.get("TUNELINE_FUZZ_REQUESTS", "1500"))

# What the gateway itself has to refuse, since it could not even write it down for the engine: path, body.
REFUSED = [
    ("/v1/completions", b'{"model": "tiny", "prompt": "a", "seed": ' + b"9" * 5_000 + b"}"),
    ("/v1/completions", b'{"model": "tiny", "prompt": "\\ud800"}'),
    ("/v1/chat/completions", b'{"model": "tiny", "messages": ' + b"[" * 100_000),
    ("/v1/chat/completions", b"\xff\xfe{}"),
    ("/v1/chat/completions", b'{"model": "tiny", "messages": [{"role": "user", "content": "a"}], "n": 1e400}'),
]


@pytest.fixture
def fuzz(served: Running) -> Iterator[Fuzz]:
    """The endpoint under attack; afterwards it is sound, has no findings, and holds no connection any more."""
    gateway = next(process for process in served.tree() if "serving.worker" in process.cmdline())
    engine, before = served.engine_pid(), _open_files(gateway)
    made = Fuzz(served.url, key("all"), "tiny", inside(served))
    yield made
    assert made.findings == []
    assert served.engine_pid() == engine
    assert served.ask().status_code == 200
    assert next(process for process in served.tree() if "serving.worker" in process.cmdline()) == gateway
    wait_until(lambda: _open_files(gateway) <= before, f"no more than {before} open files")
    assert 'status="500"' not in served.get("/metrics").text


def _open_files(gateway: psutil.Process) -> int:
    """Without the connections to the engine: those are kept for the next question."""
    return gateway.num_fds() - len(gateway.net_connections("unix"))


def test_odd_bodies_and_requests_and_bytes_get_an_error_that_says_nothing_of_the_inside(fuzz: Fuzz) -> None:
    fuzz.run(REQUESTS, seed=1)
    assert fuzz.sent == REQUESTS
    # it fails if the attack no longer reaches the engine, the checks of the body, or the parser
    assert min(fuzz.statuses[f"{kind}"] for kind in ("body 200", "body 400", "bytes 400", "bytes 200")) > 0


@pytest.mark.parametrize(("path", "body"), REFUSED, ids=range(len(REFUSED)))
def test_a_body_that_no_engine_could_be_given_is_refused(fuzz: Fuzz, path: str, body: bytes) -> None:
    with httpx.Client(base_url=fuzz.url, timeout=30) as client:
        assert fuzz.send_body(client, path, body) in (400, 422)


def test_what_the_endpoints_own_document_allows_breaks_nothing(served: Running, fuzz: Fuzz) -> None:
    document = served.get("/api/openapi.json").json()
    assert fuzz.send_document(document, max(10, REQUESTS // 60), seed=1) > 5


@pytest.mark.parametrize(
    ("code", "type_", "result"), [(400, "invalid_request_error", "refused"), (500, "server_error", "failed")]
)
def test_a_stream_that_begins_with_an_error_is_held_against_whoever_is_to_blame(
    served: Running, code: int, type_: str, result: str
) -> None:
    """vLLM 0.32 says 200 before it looks at token ids; a client's bad ones must not end a canary."""
    served.tell("stream-error", str(code))
    try:
        text = served.post("/v1/completions", {"model": "tiny", "prompt": [10**9], "stream": True}).text
    finally:
        served.untell("stream-error")
    event, done, _ = text.split("\n\n")
    error = json.loads(event.removeprefix("data: "))["error"]
    assert done == "data: [DONE]"
    assert error["type"] == type_
    assert "no such token in tiny" in error["message"]
    wanted = f'tuneline_answers_total{{endpoint="tiny",result="{result}",role="production",version="1"}}'
    wait_until(lambda: wanted in served.get("/metrics").text, "the answer to be counted")


def test_a_request_that_would_become_another_protocol_is_answered_as_the_plain_one_it_is(served: Running) -> None:
    # Java's HttpClient offers HTTP/2 with its first request, a POST with a body too
    upgrade = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAMAAABkAARAAAAAAAIAAAAA"}
    assert served.ask(headers=upgrade).status_code == 200
    assert served.ask(headers=upgrade, stream=True).text.endswith("data: [DONE]\n\n")
    websocket = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
    response = httpx.get(f"{served.url}/v1/realtime", headers=websocket | {"sec-websocket-key": "eA=="})
    assert response.status_code == 404
    assert json.loads(response.text)["error"]["code"] == "not_found"
