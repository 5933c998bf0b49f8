"""How long a rollback takes: from the call of ``rollback()`` until the endpoint answers with that version.

    python -m benchmarks.rollback --json rollback.json

Stage and traffic move together: a ZenML store of its own, a real engine, and in turn every earlier version, whose
adapter the engine has to load unless it was the one before.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from benchmarks.endpoint import ENGINE, NAME, BenchEndpoint, bench_endpoint
from benchmarks.report import write_report

_QUESTION = {"model": NAME, "messages": [{"role": "user", "content": "list pods"}], "max_tokens": 1, "temperature": 0}
_PATIENCE_SECONDS = 30.0


def measure(versions: int, rounds: int) -> dict[str, Any]:
    """Go back ``rounds`` times among ``versions`` versions; times in seconds."""
    with bench_endpoint([str(number + 1) for number in range(versions)]) as endpoint:
        storage = _registered(endpoint)
        from controlplane.releases import in_production
        from controlplane.rollback import rollback

        decided, answered = [], []
        for number in range(rounds):
            target = str(number % (versions - 1) + 1)
            started = time.perf_counter()
            rollback(NAME, storage, target, "measured")
            decided.append(time.perf_counter() - started)
            _await_answer(endpoint, target)
            answered.append(time.perf_counter() - started)
            champion = in_production(NAME)
            assert champion is not None and champion.name == target, "the stage did not follow"
            print(f"rollback {number + 1}/{rounds}: version {target} answers after {answered[-1]:.3f} s", flush=True)
    return {
        "versions": versions,
        "rounds": rounds,
        "written_seconds": {"median": statistics.median(decided), "worst": max(decided)},
        "answer_seconds": {"median": statistics.median(answered), "worst": max(answered), "all": answered},
    }


def _registered(endpoint: BenchEndpoint) -> Any:
    """The endpoint's versions in ZenML, the last one in production; returns where the releases are."""
    from controlplane.releases import put_in_production
    from controlplane.storage import Storage
    from controlplane.versions import VersionRecord, get_version, register

    root = endpoint.store.folder.removesuffix(f"/tuneline/endpoints/{NAME}/releases")
    storage = Storage(uri=root, is_local=True)
    base = endpoint.store.read(1).base
    for number, adapter in endpoint.adapters.items():
        record = VersionRecord(
            training_key=number,
            outcome="PASS",
            sentence="measured",
            scores={},
            adapter=adapter,
            base=base,
            engine=ENGINE,
            report=UUID(int=0),
        )
        register(NAME, record, [])
        put_in_production(get_version(NAME, number), storage, "benchmark")
    _await_answer(endpoint, list(endpoint.adapters)[-1])
    return storage


def _await_answer(endpoint: BenchEndpoint, version: str) -> None:
    deadline = time.perf_counter() + _PATIENCE_SECONDS
    headers = {"authorization": f"Bearer {endpoint.key}"}
    with httpx.Client(base_url=endpoint.url, headers=headers, timeout=60) as client:
        while time.perf_counter() < deadline:
            answer = client.post("/v1/chat/completions", json=_QUESTION)
            if answer.status_code == 200 and answer.headers["x-tuneline-version"] == version:
                return
    raise TimeoutError(f"version {version} gave no answer within {_PATIENCE_SECONDS:.0f} s")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rollback", description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, help="where the numbers are written")
    parser.add_argument("--versions", type=int, default=5, help="versions there are (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=8, help="rollbacks (default %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tlz-") as folder:
        os.environ |= {
            "ZENML_CONFIG_PATH": folder,
            "ZENML_LOCAL_STORES_PATH": f"{folder}/local_stores",
            "ZENML_ANALYTICS_OPT_IN": "false",
            "ZENML_LOGGING_VERBOSITY": "CRITICAL",
        }
        numbers = measure(options.versions, options.rounds)
    write_report(options.json, "rollback", numbers)
    seconds = numbers["answer_seconds"]
    print(
        f"rollback() to first answer: median {seconds['median']:.3f} s, worst {seconds['worst']:.3f} s of "
        f"{options.rounds} among {options.versions} versions; "
        f"release, stage and history took {numbers['written_seconds']['median']:.3f} s of it"
    )


if __name__ == "__main__":
    main()
