"""A real endpoint process in front of the stub engine, and what a test needs to talk to it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tuneline import paths
from tuneline.prompts import PromptTemplate
from tuneline.release import AdapterRef, BaseRef, EngineArguments, Release, ReleaseStore, Routes
from tuneline.release.files import ADAPTER_FILES, fingerprint

STUB = Path(__file__).with_name("stub_engine.py")
KEYS = {"all": ["inference", "pin", "metrics", "feedback"], "inference": ["inference"], "metrics": ["metrics"]}
# Plain HTTP to this machine: to read the certificates that nobody shows costs 40 ms of CPU for each question.
_PLAIN: dict[str, Any] = {"timeout": 30, "verify": False, "trust_env": False}
QUESTION = {"model": "tiny", "messages": [{"role": "user", "content": "how do I list pods?"}]}


def key(name: str) -> str:
    return f"tl-{name * 6}"


def wait_until(true: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """Poll until ``true()`` is; the time is generous, since the machine may be busy with something else."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := true():
            return found
        time.sleep(0.02)
    pytest.fail(f"waited {seconds:.0f} s for {what}")


@dataclass
class Running:
    """An endpoint called "tiny" with its folder, its working directory and the stub's folder."""

    root: Path
    store: str = ""
    env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None
    url: str = ""

    def __post_init__(self) -> None:
        self.workdir = self.root / "work"
        self.stub = self.root / "stub"
        self.store = self.store or str(self.root / "folder")
        self.stub.mkdir()
        self.base = self.root / "base"
        self.base.mkdir()
        (self.base / "config.json").write_text("{}")
        self.tell("token-seconds", "0.002")

    def tell(self, name: str, text: str = "") -> None:
        """Tell the stub something; see there."""
        (self.stub / name).write_text(text)

    def untell(self, name: str) -> None:
        (self.stub / name).unlink()

    def adapter(self, name: str) -> Path:
        """A folder that looks like an adapter's and answers with its name."""
        folder = self.root / "adapters" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "adapter_config.json").write_text(json.dumps({"name": name}))
        (folder / "adapter_model.safetensors").write_text(name)
        return folder

    def reference(self, name: str, version: str, **changes: Any) -> AdapterRef:
        folder = self.adapter(name)
        sha256 = fingerprint(folder, ADAPTER_FILES)
        return AdapterRef(**({"uri": str(folder), "sha256": sha256, "model_version": version, "rank": 8} | changes))

    def release(self, adapters: dict[str, str], production: str | None = None, **changes: Any) -> Release:
        """Write the next release: version by version the adapter that answers for it."""
        refs = {f"v{version}": self.reference(name, version) for version, name in adapters.items()}
        refs |= changes.pop("references", {})
        routes = Routes(production=f"v{production}" if production else None, **changes.pop("routes", {}))
        fields = {
            "endpoint": "tiny",
            "base": BaseRef(model=str(self.base)),
            "engine": EngineArguments(),
            "routes": routes,
        }
        fields |= {"adapters": refs, "author": "test", "reason": "test"} | changes
        store = ReleaseStore(f"{self.store}/releases")
        release = Release(sequence=max([0, *store.sequences()]) + 1, **fields)
        store.create(release)
        return release

    def write_keys(self, names: dict[str, list[str]] | None = None) -> None:
        keys = [
            {
                "id": f"k-{name}",
                "name": name,
                "sha256": hashlib.sha256(key(name).encode()).hexdigest(),
                "scopes": scopes,
            }
            for name, scopes in (KEYS if names is None else names).items()
        ]
        Path(self.store).mkdir(parents=True, exist_ok=True)
        (Path(self.store) / "keys.json").write_text(json.dumps({"keys": keys}))

    def launch(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the process and do not wait."""
        command = [str(paths.serving_python()), "-m", "serving", "--endpoint", "tiny", "--folder", self.store]
        command += ["--workdir", str(self.workdir), "--poll-seconds", "0.05", *arguments]
        return self.spawn(command, self.env)

    def spawn(self, command: list[str], env: dict[str, str]) -> subprocess.Popen[str]:
        """Start ``command`` with the stub as its engine; ``stop`` ends it."""
        stub = {
            "TUNELINE_ENGINE_COMMAND": json.dumps([str(paths.serving_python()), str(STUB)]),
            "STUB_FOLDER": str(self.stub),
            "TUNELINE_STANDBY": "off",
        }
        self.process = subprocess.Popen(
            command,
            cwd=paths.REPO,
            env=os.environ | stub | env,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return self.process

    def answers(self) -> bool:
        """Whether anything answers at the endpoint's address."""
        with contextlib.suppress(httpx.TransportError):
            return self.get("/livez", None).status_code == 200
        return False

    def start(self) -> Running:
        """Start it and wait until its port answers."""
        process = self.launch()

        def card() -> Any:
            assert process.poll() is None, f"the endpoint ended: {process.stderr.read() if process.stderr else ''}"
            with contextlib.suppress(FileNotFoundError):
                found = json.loads((self.workdir / "endpoint.json").read_text())
                return found if found["pid"] == process.pid else None  # an earlier one, killed, left its own

        self.url = wait_until(card, "endpoint.json")["url"]
        return self

    def ready(self) -> Running:
        """Wait until it is ready."""
        wait_until(lambda: self.get("/readyz", None).json()["ready"], "the endpoint to be ready")
        return self

    def applied(self, sequence: int) -> None:
        """Wait until this release is applied."""
        wait_until(lambda: self.get("/release").json()["sequence"] == sequence, f"release {sequence} to be applied")

    def get(self, path: str, who: str | None = "all") -> httpx.Response:
        return httpx.get(self.url + path, headers=_authorization(who), **_PLAIN)

    def post(
        self, path: str, body: Any, who: str | None = "all", headers: dict[str, str] | None = None
    ) -> httpx.Response:
        return httpx.post(self.url + path, json=body, headers=_authorization(who) | (headers or {}), **_PLAIN)

    def ask(self, who: str | None = "all", headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
        return self.post("/v1/chat/completions", QUESTION | fields, who, headers)

    def stream(self, **fields: Any) -> Any:
        """A streamed answer, as httpx's context manager."""
        body = QUESTION | {"stream": True} | fields
        url = f"{self.url}/v1/chat/completions"
        return httpx.stream("POST", url, json=body, headers=_authorization("all"), **_PLAIN)

    def engine_pid(self) -> int | None:
        pid: int | None = self.get("/readyz", None).json()["engine"]["pid"]
        return pid

    def engine_saw(self, number: int = 1) -> list[dict[str, Any]]:
        """What the stub wrote down in its n-th life."""
        return [json.loads(line) for line in (self.stub / f"engine-{number}.jsonl").read_text().splitlines()]

    def engines(self) -> int:
        """How many engines have been started."""
        return len(list(self.stub.glob("engine-*.jsonl")))

    def tree(self) -> list[psutil.Process]:
        """The launcher and everything below it."""
        assert self.process is not None
        launcher = psutil.Process(self.process.pid)
        return [launcher, *launcher.children(recursive=True)]

    def stop(self) -> None:
        """End it, whatever it does."""
        if self.process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                tree = self.tree()
                self.process.send_signal(signal.SIGTERM)
                _, alive = psutil.wait_procs(tree, timeout=30)
                for process in alive:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
            self.process.communicate()


def running(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that are still there; zombies are not."""
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def _authorization(who: str | None) -> dict[str, str]:
    return {} if who is None else {"authorization": f"Bearer {key(who)}"}


@contextlib.contextmanager
def stub_endpoint() -> Iterator[Running]:
    """An endpoint that has its keys and has not been started; it ends with the block."""
    root = Path(tempfile.mkdtemp(prefix="tls-"))  # short, for the socket below it
    made = Running(root)
    made.write_keys()
    try:
        yield made
    finally:
        made.stop()
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def endpoint() -> Iterator[Running]:
    """An endpoint that has its keys and has not been started."""
    with stub_endpoint() as made:
        yield made


@pytest.fixture(scope="module")
def served() -> Iterator[Running]:
    """One endpoint for all tests of a file: version 1 in production, version 2 loaded beside it."""
    root = Path(tempfile.mkdtemp(prefix="tls-"))
    made = Running(root)
    made.write_keys()
    prompt = PromptTemplate(
        system="You are terse.",
        few_shot=({"role": "user", "content": "a?"}, {"role": "assistant", "content": "b."}),
        chat_template="{{ messages }}",
        stop=("END",),
    )
    made.release({"1": "one"}, "1", references={"v2": made.reference("two", "2", prompt=prompt)})
    try:
        yield made.start().ready()
    finally:
        made.stop()
        shutil.rmtree(root, ignore_errors=True)
