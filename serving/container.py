"""The first process of a container: ``python -m serving``, told by the environment, with its logs on standard output.

A container is configured by variables, and whoever runs it looks for its logs on its standard output. The launcher
takes arguments and writes files, so this puts the one into the other.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from serving.__main__ import main
from tuneline.errors import UserError

_LOGS = ("gateway.log", "engine.log")
_TICK_SECONDS = 0.2
_LOG_BYTES = (
    64 * 2**20
)  # a file that was copied to its end is emptied then: a pod's disk is small and nobody rotates it


def launcher_arguments(env: Mapping[str, str]) -> list[str]:
    """The launcher's command line.

    Args:
        env: ``TUNELINE_ENDPOINT`` and ``TUNELINE_FOLDER``; optional are ``_WORKDIR`` (a folder below the home folder),
            ``_PORT`` (3000, which BentoML's images expose) and ``_POLL_SECONDS``.

    Raises:
        UserError: the endpoint or its folder is not set.
    """
    missing = [name for name in ("TUNELINE_ENDPOINT", "TUNELINE_FOLDER") if not env.get(name)]
    if missing:
        raise UserError(
            f"the container does not know what to serve: {' and '.join(missing)} not set",
            hint="Give them with -e: the endpoint's name, and the URI of its folder in the artifact store.",
        )
    arguments = {
        "--endpoint": env["TUNELINE_ENDPOINT"],
        "--folder": env["TUNELINE_FOLDER"],
        "--workdir": env.get("TUNELINE_WORKDIR") or str(Path.home() / "endpoint"),
        "--host": "0.0.0.0",
        "--port": env.get("TUNELINE_PORT") or "3000",
        "--poll-seconds": env.get("TUNELINE_POLL_SECONDS") or "1",  # every look is a request to an object store
    }
    return [word for pair in arguments.items() for word in pair]


class LogCopy(threading.Thread):
    """Copies what is written to the logs of a working folder to a stream, each line with its log's name in front."""

    def __init__(self, workdir: Path, stream: TextIO) -> None:
        super().__init__(name="logs", daemon=True)
        self._workdir = workdir
        self._stream = stream
        # What an earlier life of the container left behind was copied by that one.
        self._read = {name: path.stat().st_size for name in _LOGS if (path := workdir / name).exists()}
        self._end = threading.Event()

    def run(self) -> None:
        """Copy until ``finish``."""
        while not self._end.wait(_TICK_SECONDS):
            self._copy()
        self._copy()

    def finish(self) -> None:
        """Copy the rest and stop."""
        self._end.set()
        self.join()

    def _copy(self) -> None:
        for name in _LOGS:
            path = self._workdir / name
            if not path.exists():
                continue
            with path.open("rb") as file:
                file.seek(self._read.get(name, 0))
                data = file.read()
            whole = data[: data.rfind(b"\n") + 1]
            for line in whole.decode(errors="replace").splitlines():
                self._stream.write(f"{name.removesuffix('.log')}: {line}\n")
            self._read[name] = self._read.get(name, 0) + len(whole)
            if self._read[name] > _LOG_BYTES and len(whole) == len(data):
                os.truncate(path, 0)  # its writers append, so they go on at the new end
                self._read[name] = 0
        self._stream.flush()


def run(env: Mapping[str, str] = os.environ) -> int:
    """Serve until told to stop; the exit code."""
    try:
        arguments = launcher_arguments(env)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    logs = LogCopy(Path(arguments[arguments.index("--workdir") + 1]), sys.stdout)
    logs.start()
    try:
        return main(arguments)
    finally:
        logs.finish()


if __name__ == "__main__":
    sys.exit(run())
