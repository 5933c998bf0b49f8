"""One real main job for all tests of this folder: real data, training, MLflow, ZenML, BentoML and vLLM on CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from stacks.deployer import process
from tuneline import paths


@dataclass(frozen=True)
class Tuneline:
    """``run.py`` in a world of its own."""

    env: dict[str, str]
    known: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "run.py", *arguments],
            cwd=paths.REPO,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def done(self, *arguments: str, timeout: float = 900) -> str:
        finished = self.run(*arguments, timeout=timeout)
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
            for workdir in (root / "home" / "endpoints").glob("*"):
                process.stop(workdir, grace=20)


@pytest.fixture(scope="module")
def tuneline() -> Iterator[Tuneline]:
    """One world for all tests of a file."""
    with fresh_world() as world:
        yield world
