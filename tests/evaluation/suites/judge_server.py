"""A language model that judges, as a real HTTP server whose replies a test decides."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

# What a server does with a request: the status and the reply's text (or a whole body).
Reply = Callable[[str], "tuple[int, Any]"]


class Server:
    """An OpenAI-shaped endpoint whose replies a test decides; it keeps what it was sent."""

    def __init__(self, reply: Reply) -> None:
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                sent = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.requests.append(sent)
                outer.keys.append(self.headers["authorization"])
                status, text = reply(sent["messages"][1]["content"])
                message = {"role": "assistant", "content": text}
                body: Any = {"id": "1", "object": "chat.completion", "created": 0, "model": sent["model"]}
                body["choices"] = [{"index": 0, "message": message, "finish_reason": "stop"}]
                if status != 200 or isinstance(text, dict):
                    body = text
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.send_header("retry-after-ms", "1")
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def serve() -> Iterator[Callable[[Reply], Server]]:
    started: list[Server] = []

    def start(reply: Reply) -> Server:
        started.append(Server(reply))
        return started[-1]

    yield start
    for server in started:
        server.http.shutdown()
        server.http.server_close()
