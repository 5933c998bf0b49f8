"""One real main job for all tests of this folder: real data, training, MLflow, ZenML, BentoML and vLLM on CPU."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer
from typing import Any

import httpx
import pytest

from stacks.deployer import process
from tuneline import paths


class Warm:
    """Runs commands as forks of one process (see ``warm.py``), which is started for the first of them."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def run(self, arguments: Sequence[str], env: dict[str, str], timeout: float) -> subprocess.CompletedProcess[str]:
        """Run a command with this world's environment; one that takes longer than ``timeout`` seconds is killed."""
        if self._process is None:
            command = [sys.executable, "-m", "tests.main_job.warm"]
            self._process = subprocess.Popen(
                command, cwd=paths.REPO, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        pipe_in, pipe_out = self._process.stdin, self._process.stdout
        assert pipe_in is not None and pipe_out is not None
        with tempfile.TemporaryDirectory(prefix="tl-said-") as folder:
            out, err = Path(folder, "stdout"), Path(folder, "stderr")
            pipe_in.write(json.dumps({"argv": arguments, "stdout": str(out), "stderr": str(err)}) + "\n")
            pipe_in.flush()
            child = int(pipe_out.readline())
            killer = Timer(timeout, os.killpg, (child, signal.SIGKILL))
            killer.start()
            code = int(pipe_out.readline())
            killer.cancel()
            return subprocess.CompletedProcess(list(arguments), code, out.read_text(), err.read_text())

    def end(self) -> None:
        if self._process is not None:
            self._process.communicate(timeout=30)  # closes its input, which it takes for the end


@dataclass(frozen=True)
class Tuneline:
    """``run.py`` in a world of its own."""

    env: dict[str, str]
    known: dict[str, str] = field(default_factory=dict)
    warm: Warm = field(default_factory=Warm)

    def from_the_shell(self, *arguments: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        """As a user starts it, with its 10 seconds of imports."""
        return subprocess.run(
            [sys.executable, "run.py", *arguments],
            cwd=paths.REPO,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def run(self, *arguments: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        """The same, from a process that has imported everything already."""
        return self.warm.run(arguments, self.env, timeout)

    def done(self, *arguments: str, timeout: float = 900, from_the_shell: bool = False) -> str:
        run = self.from_the_shell if from_the_shell else self.run
        finished = run(*arguments, timeout=timeout)
        assert finished.returncode == 0, (
            f"{arguments} ended with {finished.returncode}\n{finished.stdout}\n{finished.stderr}\n{self.logs()}"
        )
        return finished.stdout

    def logs(self) -> str:
        """The last lines of every log of every endpoint of this world, which is gone once the test is."""
        workdirs = sorted(Path(self.env["TUNELINE_HOME"], "endpoints").glob("*/"))
        return "\n".join(process.log_tail(workdir, lines=40) for workdir in workdirs)

    def models(self, *options: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.done("models", "--json", *options))
        return document

    def versions(self, *options: str) -> dict[str, dict[str, Any]]:
        return {row["version"]: row for row in self.models(*options)["versions"]}

    def key(self, *options: str) -> str:
        """The endpoint's key; it stays the same, and asking for it takes ten seconds."""
        if "key" not in self.known:
            self.known["key"] = self.done("ask", "--key", *options).strip()
        return self.known["key"]

    def release(self, url: str, key: str) -> dict[str, Any]:
        answer = httpx.get(f"{url}/release", headers={"authorization": f"Bearer {key}"}, timeout=10)
        assert answer.status_code == 200, answer.text
        detail: dict[str, Any] = answer.json()
        return detail


@contextmanager
def fresh_world() -> Iterator[Tuneline]:
    """An empty ZenML and an empty home, as on a machine that has never seen tuneline; no endpoint outlives it."""
    with tempfile.TemporaryDirectory(prefix="tl-main-") as folder:
        root = Path(folder)
        env = os.environ | {
            "ZENML_CONFIG_PATH": str(root / "zenml"),
            "ZENML_LOCAL_STORES_PATH": str(root / "zenml" / "local_stores"),
            "TUNELINE_HOME": str(root / "home"),
        }
        env.pop("ZENML_ACTIVE_STACK_ID", None)
        world = Tuneline(env)
        try:
            yield world
        finally:
            world.warm.end()
            for workdir in (root / "home" / "endpoints").glob("*"):
                process.stop(workdir, grace=20)


@pytest.fixture(scope="module")
def tuneline() -> Iterator[Tuneline]:
    """One world for all tests of a file."""
    with fresh_world() as world:
        yield world
