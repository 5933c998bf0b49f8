"""The process that serves the Bento: BentoML's ASGI application in uvicorn, on a socket that the launcher opened.

``bentoml serve`` would put circus between the two. Circus restarts a dead worker only after ten seconds, waits a day
for one that hangs, and listens on two local TCP ports where anyone on the machine may give it commands; so the launcher
does that part, and this the rest.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING

from serving.logs import write_json_lines

if TYPE_CHECKING:
    from serving.endpoint import Endpoint

_FLUSH_SECONDS = 5  # for the last bytes of answers that are done


def end_with(lifeline: int) -> None:
    """End this process when ``lifeline`` closes, which it does when the launcher is gone, however that happened."""

    def watch() -> None:
        os.read(lifeline, 1)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def main(listener: int, lifeline: int) -> None:
    """Serve until SIGTERM: stop admitting, let answers under way finish, end the engine."""
    for fd in (listener, lifeline):
        os.set_inheritable(fd, False)  # uvloop hands what is inheritable to the engine, which would keep the port open
    end_with(lifeline)
    write_json_lines()

    import uvicorn

    from serving.connection import Connection
    from serving.service import application, gateway

    class Server(uvicorn.Server):
        """Goes on answering while it drains: whoever asks then is told so, and not left waiting on a closed door."""

        draining: asyncio.Task[None] | None = None

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            del frame
            self._captured_signals.append(sig)
            if self.draining is not None or gateway.endpoint is None:
                self.should_exit = True
            else:
                self.draining = asyncio.get_running_loop().create_task(self._drain(gateway.endpoint))

        async def _drain(self, endpoint: Endpoint) -> None:
            try:
                await endpoint.drain()
            finally:
                self.should_exit = True

    app = application()
    write_json_lines()
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",  # an upgrade is then answered as the plain request it also is, by the gateway
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_FLUSH_SECONDS,
    )
    Server(config).run(sockets=[socket.socket(fileno=listener)])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
