"""``run.py ask``, in front of an endpoint that answers what a test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cli.ask import answer_streamed
from tuneline.errors import TunelineError, UserError
from tuneline.release.client import EndpointClient

Answering = Callable[[int, str], EndpointClient]


@pytest.fixture
def answering() -> Iterator[Answering]:
    """An endpoint that answers everything with one status: with an error's message, or with a streamed text."""
    servers: list[ThreadingHTTPServer] = []

    def started(status: int, text: str) -> EndpointClient:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                streamed = status == 200
                chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "tiny"}
                chunk |= {"choices": [{"index": 0, "delta": {"content": text}}]}
                body = (
                    f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n"
                    if streamed
                    else json.dumps(
                        {"error": {"message": text, "type": "invalid_request_error", "code": None, "param": None}}
                    )
                )
                self.send_response(status)
                self.send_header("content-type", "text/event-stream" if streamed else "application/json")
                self.send_header("x-tuneline-version", "7")
                self.send_header("content-length", str(len(body.encode())))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return EndpointClient(url=f"http://127.0.0.1:{server.server_address[1]}", endpoint="tiny", key="tl-secret")

    yield started
    for server in servers:
        server.shutdown()
        server.server_close()


def test_question_and_answer_are_shown_as_they_are_with_who_answered(
    answering: Answering, capsys: pytest.CaptureFixture[str]
) -> None:
    answer_streamed(answering(200, "ls [/usr/bin] [red]"), "what is in [/usr/bin]?")
    said = capsys.readouterr().out
    assert "Q what is in [/usr/bin]?\nA ls [/usr/bin] [red]\n" in said
    assert "version 7, " in said


@pytest.mark.parametrize(
    ("status", "message", "kind", "pieces"),
    [
        (401, "unknown API key", UserError, ["refused the API key: unknown API key", "python run.py deploy"]),
        (404, "there is no version 99", UserError, ["answered 404: there is no version 99"]),
        (400, "the prompt has 600 tokens", UserError, ["answered 400: the prompt has 600 tokens"]),
        (503, "the engine is starting", TunelineError, ["answered 503: the engine is starting"]),
    ],
)
def test_a_refusal_is_told_with_address_and_reason_and_never_with_the_key(
    answering: Answering, status: int, message: str, kind: type[TunelineError], pieces: list[str]
) -> None:
    endpoint = answering(status, message)
    with pytest.raises(TunelineError) as caught:
        answer_streamed(endpoint, "hi", "99")
    assert type(caught.value) is kind
    for piece in (endpoint.url, *pieces):
        assert piece in str(caught.value)
    assert endpoint.key not in str(caught.value)


def test_an_endpoint_that_is_gone_is_told_with_what_starts_it(answering: Answering) -> None:
    gone = EndpointClient(url="http://127.0.0.1:9", endpoint="tiny", key="tl-secret")
    with pytest.raises(TunelineError, match=r"no answer from http://127\.0\.0\.1:9") as caught:
        answer_streamed(gone, "hi")
    assert "python run.py deploy" in caught.value.hint
