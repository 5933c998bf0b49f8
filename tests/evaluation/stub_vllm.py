"""A server that speaks vLLM's protocol as far as an evaluation needs it, and keeps what it was sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class StubVllm:
    """What the server knows and what it was asked.

    Attributes:
        url: its address, with ``/v1``.
        sent: path and body of every request, in order.
        keys: every ``authorization`` that came.
        loaded: adapters by name.
        answers: what it says to a prompt's first token: a status, or token ids with the reason they ended.
        breaks_after: completions after which it only breaks off.
    """

    def __init__(self) -> None:
        self.url = ""
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.keys: set[str | None] = set()
        self.loaded: dict[str, str] = {}
        self.answers: dict[int, int | tuple[list[int], str]] = {}
        self.breaks_after: int | None = None
        self.refuses_adapters = False

    def bodies(self, path: str) -> list[dict[str, Any]]:
        return [body for sent, body in self.sent if sent == path]

    def reply(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """Status and body; status 0 breaks the connection off."""
        self.sent.append((path, body))
        if path == "/v1/load_lora_adapter":
            if self.refuses_adapters:
                return 500, _error("LoRA rank 64 is greater than max_lora_rank 16.")
            self.loaded[body["lora_name"]] = body["lora_path"]
            return 200, "Success"
        if path == "/v1/unload_lora_adapter":
            return (200, "Success") if self.loaded.pop(body["lora_name"], None) else (404, _error("not found"))
        if self.breaks_after is not None and len(self.bodies("/v1/completions")) > self.breaks_after:
            return 0, None
        if body["model"] not in {"org/base", *self.loaded}:
            return 404, _error(f"The model `{body['model']}` does not exist.")
        told = self.answers.get(body["prompt"][0], ([*body["prompt"], 5], "stop"))
        if isinstance(told, int):
            return told, _error("This model's maximum context length is 8 tokens.")
        choice = {"index": 0, "text": "", "finish_reason": told[1]}
        return 200, {"choices": [choice | ({"token_ids": told[0]} if body.get("return_token_ids") else {})]}


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "BadRequestError", "param": None, "code": 400}}


@contextmanager
def stub_vllm() -> Iterator[StubVllm]:
    """Run one."""
    stub = StubVllm()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with lock:
                stub.keys.add(self.headers["authorization"])
                status, answer = stub.reply(self.path, body)
            if status == 0:
                self.close_connection = True
                return
            raw = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stub.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
