"""Runs the engine's command and ends its whole process tree, whatever happens to whom.

    python -I tree.py LIFELINE_FD FOLDER COMMAND...

vLLM is several processes, and killing its first one leaves the others behind, holding gigabytes. This small process
stands between: orphans become its children (a "subreaper"), and it ends when none is left. It acts when the engine
exits, when it gets SIGTERM, and when its lifeline closes, which the kernel does for it when the gateway is killed with
signal 9. FOLDER (the engine's socket lies there) is removed at the end. The engine's pid is written to the lifeline.

Standard library only, and run by path in isolated mode, so that it is up in milliseconds and depends on nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_GRACE_SECONDS = 5.0  # vLLM needs about one to end by itself


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies. Linux only; elsewhere nothing happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children(parent: int) -> list[int]:
    """The pids whose parent is ``parent``, zombies too."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # the process may end while it is looked at
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if int(fields[1]) == parent:
                found.append(int(stat.parent.name))
    return found


def reap() -> bool:
    """Collect every child that has ended; True while some are left."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
        return True
    return False


def end_all() -> None:
    """Kill all descendants: children first, whose children then become ours, until there is none."""
    while reap():
        for pid in children(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def end_strays(folder: Path) -> None:
    """Kill those of our descendants that run in ``folder``, which is one engine's alone, until there are none."""
    killed: set[int] = set()
    while True:
        found = False
        for pid in children(os.getpid()):
            with contextlib.suppress(OSError):  # it has ended, and what is dead runs nowhere
                if str(Path(f"/proc/{pid}/cwd").readlink()).removesuffix(" (deleted)") == str(folder):
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
                    found = True
        for pid in list(killed):
            try:
                if os.waitpid(pid, os.WNOHANG)[0]:
                    killed.discard(pid)
            except ChildProcessError:
                killed.discard(pid)
        if not killed and not found:  # the children of what was killed just now are ours only since then
            return
        time.sleep(0.01)


def _gone(engine: subprocess.Popen[bytes], seconds: float) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        engine.wait(seconds)
        return True
    return False


def run(lifeline: int, folder: str, command: list[str]) -> int:
    """Run ``command`` until it ends or has to; return its exit status (negative: killed by that signal)."""
    adopt_orphans()
    wake_read, wake_write = os.pipe()
    for end in (wake_read, wake_write):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake_write)
    told_to_end = False

    def on_terminate(_signal: int, _frame: object) -> None:
        nonlocal told_to_end
        told_to_end = True

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, on_terminate)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        engine = subprocess.Popen(command)  # standard input is ours: a standby gets its arguments there
        with contextlib.suppress(BrokenPipeError):
            os.write(lifeline, f"{engine.pid}\n".encode())
        while engine.poll() is None and not told_to_end:
            readable, _, _ = select.select([lifeline, wake_read], [], [], 1.0)
            if wake_read in readable:
                os.read(wake_read, 512)
            if lifeline in readable:
                told_to_end = True  # nothing is ever sent: it was closed
        if told_to_end and engine.poll() is None:
            engine.terminate()
            _gone(engine, _GRACE_SECONDS)
        if engine.poll() is None:
            engine.kill()
        status = engine.wait()
        os.close(lifeline)  # says at once that the engine is gone; what it left behind takes longer
        end_all()
        return status
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    code = run(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
    sys.exit(code if code >= 0 else 128 - code)
