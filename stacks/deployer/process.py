"""The serving process of an endpoint on this machine: started, found again, ended. No ZenML in here.

It is detached from its starter (a session of its own), so it outlives the pipeline run that
needed it, and Ctrl-C in a terminal does not reach it. What is known about it lies in its
working directory: ``process.json``, written by the starter, says which process it is;
``endpoint.json``, written by the process itself, says where it answers.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from stacks.deployer.log_lines import readable
from tuneline.errors import TunelineError, UserError

# In the order in which a reader wants them: what the launcher said, then the gateway, then the engine.
LOGS = ("start.log", "gateway.log", "engine.log")
_STRAGGLERS_SECONDS = 5.0
_LINUX_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Serving:
    """A serving process that is alive.

    Attributes:
        pid: the leader of its session and process group.
        folder: the endpoint's folder, whose releases it serves.
        url: where it answers; None until it does for the first time.
    """

    pid: int
    folder: str
    url: str | None


def birth(pid: int) -> str | None:
    """What tells a process from a later one that was given the same number; None when it is gone or a zombie."""
    if not _LINUX_BOOT.exists():
        try:
            process = psutil.Process(pid)
            return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
        except psutil.NoSuchProcess:
            return None
    try:
        # Clock ticks since boot: unlike a wall-clock time they do not move when the clock is set.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else f"{_LINUX_BOOT.read_text().strip()}/{fields[19]}"


def find(workdir: Path) -> Serving | None:
    """The live serving process of a working directory; None if there is none."""
    record = _read(workdir / "process.json")
    pid = record.get("pid")
    if not isinstance(pid, int) or birth(pid) != record.get("birth"):
        return None
    answer = _read(workdir / "endpoint.json")
    # An endpoint.json that a killed predecessor left behind names another process.
    url = str(answer["url"]) if answer.get("pid") == pid and "url" in answer else None
    return Serving(pid=pid, folder=str(record.get("folder")), url=url)


def last_port(workdir: Path) -> int | None:
    """The port that the working directory's process, dead or alive, was seen to answer on."""
    port = _read(workdir / "process.json").get("port")
    return port if isinstance(port, int) else None


def remember_port(workdir: Path, port: int) -> None:
    """Keep the port for ``last_port``."""
    _write(workdir / "process.json", _read(workdir / "process.json") | {"port": port})


@contextlib.contextmanager
def exclusive(workdir: Path, timeout: float) -> Iterator[None]:
    """Keep two starters of one endpoint apart: the second waits and then finds the first one's process.

    Raises:
        TunelineError: the other starter was not done after ``timeout`` seconds.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout
    with (workdir / "start.lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TunelineError(
                        f"another command has been starting the endpoint {workdir.name!r} for {timeout:.0f} s",
                        hint="Wait for it or stop it, then run the command again.",
                    ) from None
                time.sleep(0.1)
        yield


def check_port(host: str, port: int) -> None:
    """Raise a UserError that names the port if something listens there already."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(
                f"the endpoint cannot listen on {host}:{port}: {error.strerror or error}",
                hint=f"Stop what uses port {port}, or give the model deployer another port (0 picks a free one).",
            ) from error


def launch(
    command: Sequence[str], *, workdir: Path, folder: str, cwd: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start the serving process, detached, and record it in ``workdir``. It does not answer yet when this returns.

    Args:
        command: interpreter and arguments.
        workdir: where its records and logs lie; it exists.
        folder: the endpoint's folder, for the record.
        cwd: the directory from which ``serving`` can be imported.
        environment: its whole environment.
    """
    port = last_port(workdir)
    (workdir / "endpoint.json").unlink(missing_ok=True)
    with (workdir / "start.log").open("wb") as log:
        process = subprocess.Popen(
            list(command),
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        record = {"pid": process.pid, "birth": birth(process.pid), "folder": folder, "port": port}
        _write(workdir / "process.json", record)
    except BaseException:  # nobody could find it again
        process.kill()
        process.wait()
        raise
    # Takes its exit status whenever it ends, so that a long-lived starter collects no zombies.
    threading.Thread(target=process.wait, name=f"reap-{process.pid}", daemon=True).start()
    return process


def stop(workdir: Path, grace: float) -> bool:
    """End the serving process with everything it started, and wait for their end.

    Args:
        grace: seconds that it may take to finish its requests before it is killed; 0 kills at once.

    Returns:
        Whether it was running.

    Raises:
        TunelineError: something of it could not be ended.
    """
    serving = find(workdir)
    pid = serving.pid if serving else _read(workdir / "process.json").get("pid")
    if not isinstance(pid, int):
        return False
    if serving is None and birth(pid) is not None:
        # The number is another program's now. A number is not given away while a session still bears
        # it, so nothing of ours is left either.
        return False
    tree = _tree(pid)
    if serving and grace > 0:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + grace
        while tree and time.monotonic() < deadline:
            time.sleep(0.05)
            tree = _alive(tree | _tree(pid))
            if birth(pid) is None:  # what it did not take with it gets a moment more, not the whole time
                deadline = min(deadline, time.monotonic() + _STRAGGLERS_SECONDS)
    if tree := _alive(tree | _tree(pid)):
        for process in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        _, left = psutil.wait_procs(tree, timeout=10)
        if left := list(_alive(set(left))):
            raise TunelineError(
                f"these processes of the endpoint {workdir.name!r} could not be ended: {[p.pid for p in left]}",
                hint="End them by hand, then run the command again.",
            )
    return serving is not None


def log_sizes(workdir: Path) -> dict[str, int]:
    """How long each log is now, in bytes: what is beyond it later belongs to the next start."""
    return {name: (workdir / name).stat().st_size for name in LOGS if (workdir / name).exists()}


def new_lines(workdir: Path, read: dict[str, int]) -> dict[str, list[str]]:
    """The lines of each log that were written since the last call; ``read`` keeps the place, in bytes, in each.

    A log that became shorter was begun anew and is read from its start. A last line without its end waits for it.
    """
    found = {}
    for name in LOGS:
        try:
            data = (workdir / name).read_bytes()
        except FileNotFoundError:
            continue
        start = read.get(name, 0) if read.get(name, 0) <= len(data) else 0
        end = data.rfind(b"\n", start) + 1 or start
        read[name] = end
        if lines := data[start:end].decode(errors="replace").splitlines():
            found[name] = lines
    return found


def follow_logs(workdir: Path, *, follow: bool, tail: int | None) -> Generator[str, bool, None]:
    """Lines of all logs, each with the log's name in front.

    Args:
        follow: go on with what is written from now on, until the process ends.
        tail: only so many lines of each, to begin with.
    """
    read: dict[str, int] = {}
    while True:
        alive = find(workdir) is not None
        for name, lines in new_lines(workdir, read).items():
            yield from (f"{name.removesuffix('.log')}: {readable(line)}" for line in (lines[-tail:] if tail else lines))
        if not (follow and alive):
            return
        tail = None
        time.sleep(0.5)


def log_tail(workdir: Path, *, lines: int = 20, since: Mapping[str, int] | None = None) -> str:
    """The last lines of each log, under its name; only what was written after ``since`` if that is given."""
    read = {name: size for name, size in (since or {}).items() if name != "start.log"}  # that one begins anew each time
    return "\n".join(
        "\n".join([f"--- last lines of {workdir / name}", *map(readable, found[-lines:])])
        for name, found in new_lines(workdir, read).items()
    )


def _read(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, record: Mapping[str, object]) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(record))
    part.replace(path)


def _tree(pid: int) -> set[psutil.Process]:
    """The session of ``pid``, and its descendants, which may have left it. psutil knows them by number and age."""
    found: set[psutil.Process] = set()
    with contextlib.suppress(psutil.NoSuchProcess):
        found.update(psutil.Process(pid).children(recursive=True))
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(process.pid) == pid:
                found.add(process)
    return _alive(found)


def _alive(processes: set[psutil.Process]) -> set[psutil.Process]:
    alive = set()
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                alive.add(process)
    return alive
