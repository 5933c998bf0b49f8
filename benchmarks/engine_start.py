"""How long an engine takes from its command to its first token: ours, ours after a crash, and vLLM's own server.

    python -m benchmarks.engine_start --json FILE --rounds 3

A round is one of each, one after the other, so that what else the machine does meets all of them. Wall time says what a
caller waits; CPU seconds say what a busy machine cannot blur. ``ours cold`` is the whole endpoint with gateway, adapter
and proof; ``plain`` is the engine alone, without an adapter.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.endpoint import BASE, ENGINE, NAME, bench_folder
from benchmarks.report import write_report
from tuneline import paths

_TIMEOUT = 300.0
_IDLE_SECONDS = 2.0  # a standby that used no CPU for this long has imported everything


def plain() -> dict[str, float]:
    """Start vLLM's server and ask it for a token."""
    with tempfile.TemporaryDirectory(prefix="tlb-") as folder:
        command = [str(paths.serving_python()), "-m", "vllm.entrypoints.openai.api_server", "--uds", "e.sock"]
        command += ["--model", str(BASE), "--served-model-name", "m", "--dtype", ENGINE.dtype, "--enable-lora"]
        command += ["--max-model-len", str(ENGINE.max_model_len), "--max-num-seqs", str(ENGINE.max_num_seqs)]
        command += ["--kv-cache-memory-bytes", str(int(ENGINE.kv_cache_gib * 2**30)), "--enforce-eager"]
        env = _environment() | {"HF_HUB_OFFLINE": "1", "VLLM_CACHE_ROOT": f"{folder}/cache"}
        client = httpx.Client(transport=httpx.HTTPTransport(uds=f"{folder}/e.sock"), base_url="http://e", timeout=60)
        with client, _running(command, Path(folder), env) as process:
            began = time.perf_counter()
            _until(process, lambda: client.get("/health").status_code == 200)
            question = {"model": "m", "prompt": "Hello", "max_tokens": 1}
            client.post("/v1/completions", json=question).raise_for_status()
            return {"wall_s": time.perf_counter() - began, "cpu_s": _cpu_seconds(process.pid)}


def ours() -> tuple[dict[str, float], dict[str, float]]:
    """Start an endpoint; once its standby is there, kill the engine. The cold start and the restart."""
    with tempfile.TemporaryDirectory(prefix="tlb-") as folder:
        root = Path(folder)
        home, _ = bench_folder(root, ["1"])
        workdir = root / "work"
        command = [str(paths.serving_python()), "-m", "serving", "--endpoint", NAME, "--folder", home]
        command += ["--workdir", str(workdir)]
        with _running(command, root, _environment() | {"PYTHONPATH": str(paths.REPO)}) as process:
            began = time.perf_counter()
            card = workdir / "endpoint.json"
            _until(process, card.is_file)
            url = json.loads(card.read_text())["url"]

            def state() -> Any:
                return httpx.get(f"{url}/readyz", timeout=30).json()

            _until(process, lambda: state()["ready"])
            cold = {"wall_s": time.perf_counter() - began, "cpu_s": _cpu_seconds(process.pid)}
            _until_standby(process)
            engine = state()["engine"]["pid"]
            psutil.Process(engine).kill()
            began = time.perf_counter()
            _until(process, lambda: state()["engine"]["pid"] not in (None, engine) and state()["ready"])
            # the standby's imports count too: they were done before, but they were done
            new = psutil.Process(state()["engine"]["pid"])
            restart = {"wall_s": time.perf_counter() - began, "cpu_s": _cpu_seconds(new.pid)}
            return cold, restart


def _until_standby(process: subprocess.Popen[bytes]) -> None:
    def waiting() -> bool:
        for child in psutil.Process(process.pid).children(recursive=True):
            if child.cmdline()[-2:-1] == ["--wait"] and "tree.py" not in " ".join(child.cmdline()):
                used = sum(child.cpu_times()[:2])
                time.sleep(_IDLE_SECONDS)
                return used > 1.0 and sum(child.cpu_times()[:2]) - used < 0.05
        return False

    _until(process, waiting)


@contextmanager
def _running(command: list[str], folder: Path, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        process.terminate()
        _, alive = psutil.wait_procs(tree, timeout=30)
        for left in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
        process.wait()


def _environment() -> dict[str, str]:
    env = dict(os.environ) | {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    return env


def _until(process: subprocess.Popen[bytes], true: Callable[[], Any]) -> None:
    until = time.monotonic() + _TIMEOUT
    while time.monotonic() < until:
        if process.poll() is not None:
            raise SystemExit(f"it ended with status {process.returncode}")
        with contextlib.suppress(httpx.TransportError):
            if true():
                return
        time.sleep(0.05)
    raise SystemExit(f"nothing after {_TIMEOUT:.0f} s")


def _cpu_seconds(pid: int) -> float:
    """CPU seconds of a process tree, those of its members that have ended and were waited for included."""
    root = psutil.Process(pid)
    return float(sum(sum(process.cpu_times()[:4]) for process in [root, *root.children(recursive=True)]))


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description="Engine start: ours, ours after a crash, plain vLLM.")
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rounds: dict[str, list[dict[str, float]]] = {"ours_cold": [], "ours_restart": [], "plain": []}
    for number in range(options.rounds):
        cold, restart = ours()
        for name, found in (("ours_cold", cold), ("ours_restart", restart), ("plain", plain())):
            rounds[name].append(found)
            print(f"round {number + 1}: {name} {found['wall_s']:.1f} s wall, {found['cpu_s']:.1f} s CPU", flush=True)
    medians = {
        name: {unit: round(statistics.median(one[unit] for one in found), 2) for unit in ("wall_s", "cpu_s")}
        for name, found in rounds.items()
    }
    write_report(options.json, "engine_start", {"rounds": rounds, "medians": medians})


if __name__ == "__main__":
    main()
