"""What a training run takes besides training: the time of ``run.py train`` outside its loop, step by step.

    python -m benchmarks.overhead --json overhead.json

The main job's config in a world of its own (ZenML, MLflow and tuneline's home in a temporary folder), once to set
things up and then ``--rounds`` times. ZenML's own timestamps of the run's steps say where the time goes; what is
before, between and after them is ``zenml and start``; the training step's own share is what its loop did not take.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.report import write_report
from tuneline import paths


def isolated(folder: Path) -> dict[str, str]:
    """Environment in which nothing of the user's is read or written."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("ZENML_", "MLFLOW_", "TUNELINE_"))
    }
    return kept | {
        "ZENML_CONFIG_PATH": str(folder / "zenml"),
        "ZENML_LOCAL_STORES_PATH": str(folder / "zenml" / "local_stores"),
        "ZENML_ANALYTICS_OPT_IN": "false",
        "ZENML_AUTO_OPEN_DASHBOARD": "false",
        "ZENML_DISABLE_INTERACTIVE_INPUT": "true",
        "TUNELINE_HOME": str(folder / "home"),
        "HF_HUB_OFFLINE": "1",
    }


def once(environment: dict[str, str], config: str, overrides: list[str]) -> dict[str, float]:
    """One run: seconds by step, of the loop, and of the whole command."""
    command = [sys.executable, "run.py", "train", "--config", config]
    for override in overrides:
        command += ["--set", override]
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, cwd=paths.REPO, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    read = [sys.executable, "-m", "benchmarks.overhead", "--read"]
    told = subprocess.run(read, env=environment, cwd=paths.REPO, capture_output=True, text=True, check=False)
    if told.returncode:
        raise SystemExit(f"run.py train ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    steps: dict[str, float] = json.loads(told.stdout.strip().splitlines()[-1])
    loop = steps.pop("loop")
    outside = {f"step {name}": value for name, value in steps.items() if name != "train"}
    return outside | {
        "step train, outside its loop": steps["train"] - loop,
        "zenml and start": seconds - sum(steps.values()),
        "all outside the loop": seconds - loop,
        "loop": loop,
    }


def last_run() -> dict[str, float]:
    """Seconds of each step of the last training run, and of its loop."""
    from zenml.client import Client

    run = Client().list_pipeline_runs(sort_by="desc:created", size=1).items[0].get_hydrated_version()
    found = {}
    for name, step in run.steps.items():
        if step.start_time is not None and step.end_time is not None:
            found[name] = (step.end_time - step.start_time).total_seconds()
    outputs = run.steps["train"].outputs
    adapter = next(iter(outputs.values()))[0].load()
    return found | {"loop": float(adapter.training["seconds"])}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--config", default="configs/tiny.yaml")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], help="as of run.py")
    parser.add_argument("--read", action="store_true", help="print the last run's steps; what each round calls")
    arguments = parser.parse_args()
    if arguments.read:
        print(json.dumps(last_run()))
        return
    if arguments.json is None:
        parser.error("--json is missing")
    rounds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="tlb-") as folder:
        environment = isolated(Path(folder))
        for number in range(arguments.rounds + 1):
            # A run whose inputs did not change comes out of ZenML's cache; another seed makes it a new one.
            found = once(environment, arguments.config, [*arguments.set, f"training.seed={number}"])
            print({name: round(value, 2) for name, value in found.items()}, flush=True)
            if number:
                rounds.append(found)
    medians = {name: statistics.median(each.get(name, 0.0) for each in rounds) for name in rounds[0]}
    write_report(arguments.json, "overhead", {"config": arguments.config, "seconds": medians, "rounds": rounds})


if __name__ == "__main__":
    main()
