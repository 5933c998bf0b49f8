"""The benchmarks' client counts as whole only what is whole."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.load import Load, Target, burst, run

HEAD = b"HTTP/1.1 200 OK\r\nX-Tuneline-Version: 7\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = b'b\r\ndata: {"a"}\n\n\r\n'
DONE = b"e\r\ndata: [DONE]\n\n\r\n"
END = b"0\r\n\r\n"


def _asked(*pieces: bytes, questions: int = 1) -> Load:
    """Ask a server that answers every question with these pieces and then hangs up unless the answer has its end."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            length = 0
            while (line := await reader.readline()).strip():
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            await reader.readexactly(length)
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.01)
            if not b"".join(pieces).endswith(END):
                break
        writer.close()

    async def both() -> Load:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            target = Target("stub", "key", "model", url=f"http://127.0.0.1:{port}")
            return await burst(target, [{"messages": []}] * questions, 1)

    load: Load = run(both)
    return load


@pytest.mark.parametrize("cut", [1, 20, len(HEAD) - 2, len(HEAD) + 3, len(HEAD + EVENT + DONE) - 4])
def test_a_whole_stream_is_whole_however_it_is_cut_into_pieces(cut: int) -> None:
    whole = HEAD + EVENT + DONE + END
    load = _asked(whole[:cut], whole[cut:], questions=2)
    assert load.problems == []
    assert [answer.version for answer in load.answers] == ["7", "7"]
    assert all(0 < answer.first <= answer.seconds for answer in load.answers)


@pytest.mark.parametrize(
    ("pieces", "problem"),
    [
        ((HEAD, EVENT, END), "without [DONE]"),
        ((HEAD, EVENT), "connection was lost"),
        ((HEAD, EVENT, b'12\r\ndata: {"error":1}\n\n\r\n', DONE, END), "error"),
        ((b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno",), "503"),
    ],
)
def test_anything_else_is_a_problem(pieces: tuple[bytes, ...], problem: str) -> None:
    (found,) = _asked(*pieces).problems
    assert problem in found
