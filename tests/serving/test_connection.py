"""How long a client may take to send a request, at a server of its own with a short deadline."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest
import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from serving import connection


def test_a_request_that_is_not_whole_in_time_is_cut_off_and_an_answer_may_take_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def slowly(scope: Scope, receive: Receive, send: Send) -> None:
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            more = message.get("more_body", False)
        await asyncio.sleep(0.8)
        await PlainTextResponse("whole")(scope, receive, send)

    monkeypatch.setattr(connection, "REQUEST_SECONDS", 0.4)
    config = uvicorn.Config(slowly, http=connection.Connection, log_config=None, lifespan="off", timeout_keep_alive=1)
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        for said, heard in (
            (b"", b""),
            (b"GET / HTTP/1.1\r\nhost:", b"408 Request Timeout"),
            (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n1234", b"408 Request Timeout"),
            (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\nconnection: close\r\n\r\n1234", b"whole"),
        ):
            with socket.create_connection(listener.getsockname(), timeout=10) as client:
                client.sendall(said)
                answer = b"".join(iter(lambda: client.recv(4096), b""))
            assert heard in answer
            assert bool(answer) == bool(heard)
    finally:
        server.should_exit = True
        thread.join()
