"""Starts an endpoint and stays its guard: ``python -m serving --endpoint tiny --folder URI --workdir DIR``.

It opens the port, runs the worker (the Bento) on it, writes ``DIR/endpoint.json`` once that answers, restarts it if it
dies, and ends only when no process of the tree is left.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import http.client
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from serving.engine.tree import adopt_orphans, end_all
from serving.settings import Settings
from tuneline.errors import TunelineError, UserError
from tuneline.release.document import ENDPOINT_NAME

_REPO = Path(__file__).parents[1]
_TICK_SECONDS = 0.05
_LIVE_SECONDS = 120.0  # BentoML's imports, on a machine that is busy with something else
_END_SECONDS = 15.0  # for the engine and the last bytes, once the answers are done
_OPEN_FILES = 65_536
_BACKOFF_SECONDS = (0.0, 1.0, 2.0, 5.0, 10.0)


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m serving", description="Serve an endpoint: gateway, engine, releases."
    )
    parser.add_argument("--endpoint", required=True, help="the endpoint's name, which clients send as `model`")
    parser.add_argument(
        "--folder", required=True, help="URI or path of the endpoint's folder (releases/ and keys.json)"
    )
    parser.add_argument("--workdir", required=True, type=Path, help="local folder for logs, caches and endpoint.json")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument(
        "--port", type=int, default=0, help="port to listen on; 0 takes a free one (default %(default)s)"
    )
    parser.add_argument(
        "--poll-seconds", type=float, default=0.2, help="how often to look for a release (default %(default)s)"
    )
    parser.add_argument(
        "--drain-seconds",
        type=float,
        default=float(os.environ.get("TUNELINE_DRAIN_SECONDS", "30")),
        help="what answers under way get once the endpoint is told to stop (default %(default)s)",
    )
    parser.add_argument(
        "--standby",
        choices=("on", "off"),
        default=os.environ.get("TUNELINE_STANDBY", "on"),
        help="keep a process that has imported vLLM and takes over when the engine ends; about 0.7 GB, and only where "
        "memory allows (default %(default)s)",
    )
    return parser.parse_args(argv)


def listen(host: str, port: int) -> socket.socket:
    """Open the port.

    Raises:
        UserError: it is taken, or the address is not this machine's.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise UserError(
            f"cannot listen on {host}:{port}: {error.strerror or error}",
            hint="Choose another port with --port, or 0 for a free one; `ss -ltnp` shows who has it.",
        ) from None


def allow_connections() -> None:
    """Raise the limit on open files, the worker's too, as far as this user may.

    The usual 1,024 is under what 1,000 slow clients take, and who reaches it is not even refused.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def lock(workdir: Path) -> IO[str]:
    """Take the working folder for this process alone.

    Raises:
        UserError: another endpoint works in it.
    """
    file = (workdir / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise UserError(
            f"another endpoint is running in {workdir}", hint="Stop it first, or give another --workdir."
        ) from None
    return file


class Guard:
    """The worker's parent."""

    def __init__(self, settings: Settings, listener: socket.socket, url: str) -> None:
        self._settings = settings
        self._listener = listener
        self._url = url
        self._card = settings.workdir / "endpoint.json"
        self._log = settings.workdir / "gateway.log"
        self._signals: list[int] = []
        self._lifeline_read, self._lifeline_write = os.pipe()

    def run(self) -> int:
        """Serve until told to stop; the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        self._card.unlink(missing_ok=True)  # of an earlier life that was killed
        try:
            failures = 0
            while True:
                began = time.monotonic()
                worker = self._start_worker()
                if not self._until_live(worker):
                    if self._signals:
                        break
                    sys.stderr.write(f"the gateway did not start; the end of {self._log}:\n{_tail(self._log)}\n")
                    return 1
                self._write_card()
                while worker.poll() is None and not self._signals:
                    time.sleep(_TICK_SECONDS)
                if self._signals:
                    break
                # Its engine sees its lifeline closed and ends by itself; what does not is ended here.
                sys.stderr.write(f"the gateway ended with status {worker.returncode}; starting it again\n")
                _wait_for_children(10.0)
                end_all()
                failures = 0 if time.monotonic() - began > 60 else failures + 1
                self._sleep(_BACKOFF_SECONDS[min(failures, len(_BACKOFF_SECONDS) - 1)])
                if self._signals:
                    return 0
            self._end(worker)
            return 0
        finally:
            end_all()
            self._card.unlink(missing_ok=True)

    def _on_stop(self, number: int, _frame: object) -> None:
        self._signals.append(number)

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._signals:
            time.sleep(_TICK_SECONDS)

    def _start_worker(self) -> subprocess.Popen[bytes]:
        env = dict(os.environ) | self._settings.to_environment()
        env |= {
            "BENTOML_DO_NOT_TRACK": "True",
            "BENTOML_HOME": str(self._settings.workdir / "bentoml"),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(_REPO), os.environ.get("PYTHONPATH")))),
        }
        env.pop("PYTHONDONTWRITEBYTECODE", None)  # bytecode makes the next start seconds faster
        fds = (self._listener.fileno(), self._lifeline_read)
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "serving.worker", *map(str, fds)],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=fds,
            )

    def _until_live(self, worker: subprocess.Popen[bytes]) -> bool:
        until = time.monotonic() + _LIVE_SECONDS
        while time.monotonic() < until and worker.poll() is None and not self._signals:
            if _answers(self._url):
                return True
            time.sleep(_TICK_SECONDS)
        return False

    def _write_card(self) -> None:
        card = {
            "pid": os.getpid(),
            "pgid": os.getpgrp(),
            "url": self._url,
            "endpoint": self._settings.endpoint,
            "started_at": datetime.now(UTC).isoformat(),
        }
        part = self._card.with_suffix(".part")
        part.write_text(json.dumps(card))
        part.rename(self._card)

    def _end(self, worker: subprocess.Popen[bytes]) -> None:
        """Let the worker finish; a second signal, or too long a wait, ends it at once."""
        asked = len(self._signals)
        with contextlib.suppress(ProcessLookupError):
            worker.terminate()
        until = time.monotonic() + self._settings.drain_seconds + _END_SECONDS
        while worker.poll() is None and time.monotonic() < until and len(self._signals) == asked:
            time.sleep(_TICK_SECONDS)


def _wait_for_children(seconds: float) -> None:
    until = time.monotonic() + seconds
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < until:
            os.waitpid(-1, os.WNOHANG)
            time.sleep(_TICK_SECONDS)


def _answers(url: str) -> bool:
    address = url.removeprefix("http://")
    connection = http.client.HTTPConnection(address, timeout=2)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _tail(path: Path, lines: int = 20) -> str:
    with contextlib.suppress(FileNotFoundError):
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    return ""


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit code (2: a mistake of the caller's)."""
    options = arguments(argv)
    try:
        if not re.match(ENDPOINT_NAME, options.endpoint):
            raise UserError(
                f"--endpoint is {options.endpoint!r}", hint="Use small letters, digits and hyphens, 53 at most."
            )
        if options.poll_seconds <= 0:
            raise UserError(f"--poll-seconds is {options.poll_seconds}", hint="Use a number of seconds above 0.")
        if options.drain_seconds < 0:
            raise UserError(f"--drain-seconds is {options.drain_seconds}", hint="Use a number of seconds, 0 for none.")
        workdir = options.workdir.absolute()
        workdir.mkdir(parents=True, exist_ok=True)
        workdir.chmod(0o700)
        inherited = os.environ.get("TUNELINE_ENGINE_COMMAND")
        settings = Settings(
            endpoint=options.endpoint,
            folder=options.folder,
            workdir=workdir,
            poll_seconds=options.poll_seconds,
            drain_seconds=options.drain_seconds,
            standby=options.standby == "on",
            engine_command=tuple(json.loads(inherited)) if inherited else None,
        )
        with lock(workdir), listen(options.host, options.port) as listener:
            if os.getpgrp() != os.getpid():
                os.setsid()  # whoever ends the endpoint by its group must not end its starter with it
            adopt_orphans()
            allow_connections()
            host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(options.host, options.host)
            url = f"http://[{host}]:" if ":" in host else f"http://{host}:"
            return Guard(settings, listener, f"{url}{listener.getsockname()[1]}").run()
    except TunelineError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
