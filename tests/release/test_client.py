"""What a caller is told of an endpoint that gives no answer."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tuneline.errors import TunelineError
from tuneline.release.client import EndpointClient

Silent = Callable[..., EndpointClient]

READY: dict[str, Any] = {
    "ready": False,
    "state": "engine not answering",
    "release": 4,
    "engine": {"state": "not answering", "pid": 4711, "starts": 2, "error": None},
    "error": "release 5 could not be applied: no space",
}


@pytest.fixture
def silent() -> Iterator[Silent]:
    """Starts an endpoint that takes questions and answers nothing but ``/readyz``."""
    over = threading.Event()
    servers = []

    def started(ready: Any) -> EndpointClient:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/readyz":
                    self.send_response(503)
                    self.end_headers()
                    self.wfile.write(json.dumps(ready).encode())
                else:
                    over.wait(30)

            def do_POST(self) -> None:
                over.wait(30)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return EndpointClient(f"http://127.0.0.1:{server.server_address[1]}", "tiny", "tl-secret", timeout=0.3)

    yield started
    over.set()
    for server in servers:
        server.shutdown()
        server.server_close()


def told(ask: Callable[[], object]) -> str:
    with pytest.raises(TunelineError) as caught:
        ask()
    assert "tl-secret" not in str(caught.value)
    assert "python run.py logs" in caught.value.hint
    return caught.value.what


def test_a_question_without_an_answer_is_told_with_its_time_and_the_endpoints_state(silent: Silent) -> None:
    client = silent(READY)
    said = told(lambda: client.logprobs([1, 2], [3], version="7"))
    asked = "POST /v1/completions with a prompt's log-probabilities of version 7"
    found = re.match(rf"no answer from the endpoint at {client.url} to {asked} after (\d+\.\d) s: timed out; ", said)
    assert found and float(found[1]) >= client.timeout, said
    for piece in (
        "it says 'engine not answering', release 4, engine 4711 'not answering' after 2 start(s)",
        "release 5 could not be applied: no space",
    ):
        assert piece in said
    assert "to GET /release after" in told(client.release)


def test_an_endpoint_that_does_not_even_say_how_it_is(silent: Silent) -> None:
    assert "nor is its answer to GET /readyz that of an endpoint" in told(silent(["?"]).release)
    with socket.socket() as taken:  # bound and not listening: nobody else gets the port, and nobody answers there
        taken.bind(("127.0.0.1", 0))
        said = told(EndpointClient(f"http://127.0.0.1:{taken.getsockname()[1]}", "tiny", "tl-secret").release)
    assert re.search(r"to GET /release after .* Connection refused; nor to GET /readyz: ", said), said
