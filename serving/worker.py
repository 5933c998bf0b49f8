"""The process that serves the Bento: BentoML's ASGI application in uvicorn, on a socket that the launcher opened.

``bentoml serve`` would put circus between the two. Circus restarts a dead worker only after ten seconds, waits a day
for one that hangs, and listens on two local TCP ports where anyone on the machine may give it commands; so the launcher
does that part, and this the rest.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading

DRAIN_SECONDS = 10  # what answers under way get once the endpoint is told to stop


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
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")

    import uvicorn

    from serving.connection import Connection
    from serving.service import application

    config = uvicorn.Config(
        application(),
        http=Connection,
        ws="none",  # an upgrade is then answered as the plain request it also is, by the gateway
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=listener)])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
