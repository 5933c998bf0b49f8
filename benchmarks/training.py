"""How fast a training is beside transformers' Trainer and TRL, and whether it learns as much.

    python -m benchmarks.training --json training.json --alpaca alpaca.json

The tiny base model on CPU, twice: on a file of Alpaca rows, whose lengths differ by a factor of a hundred, and on the
synthetic questions with their commands, which are short. In every round each contender trains in a process of its own,
in turn; the order is reversed from round to round. Medians of the rounds' ratios count. What the contenders are is said
in ``benchmarks/peers/train_once.py``; (c), TRL by hand, is the faster of its two in each round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.train_once import CONTENDERS
from benchmarks.report import print_rows, write_report
from tuneline import paths
from tuneline.config import load_config
from tuneline.data.convert import convert_row
from tuneline.data.records import ChatRecord
from tuneline.data.synthetic import generate_records
from tuneline.training.base_model import load_tokenizer
from tuneline.training.packing import Sample
from tuneline.training.samples import tokenise

Numbers = dict[str, float]
_BATCH_TOKENS = 4096
_HELD_OUT = 10  # every tenth conversation
_LONGEST = 1024  # the tiny base model's own limit
# (data, against whom, at least so many times as fast): what was reached by hand on two cores, see docs.
_GOALS = {
    ("alpaca", "trainer"): 3.5,
    ("alpaca", "trl"): 4.5,
    ("alpaca", "trl by hand"): 0.97,
    ("short", "trainer"): 1.6,
    ("short", "trl"): 2.3,
    ("short", "trl by hand"): 0.97,
}


def jobs(alpaca: Path | None, tokens: int) -> dict[str, dict[str, Any]]:
    """What is trained on each data set: about so many useful tokens."""
    config = load_config(paths.CONFIGS / "tiny.yaml")
    records = {"short": list(generate_records(("kubectl", "helm", "docker", "git"), 4000, seed=1))}
    if alpaca is not None:
        rows = [convert_row(row, "alpaca").messages for row in json.loads(alpaca.read_text())]
        records["alpaca"] = [ChatRecord(id=str(i), source="alpaca", messages=row) for i, row in enumerate(rows)]
    tokenizer = load_tokenizer(config.model)
    found = {}
    for name, chosen in records.items():
        samples = tokenise(chosen, tokenizer, config.prompt, _LONGEST).training
        training = [sample for i, sample in enumerate(samples) if i % _HELD_OUT]
        mean = statistics.mean(len(sample.ids) for sample in training)
        found[name] = {
            "base": config.model.base,
            "training": _plain(training),
            "held_out": _plain(samples[::_HELD_OUT]),
            "steps": max(2, round(tokens / _BATCH_TOKENS)),
            "batch_tokens": _BATCH_TOKENS,
            "rows": round(_BATCH_TOKENS / mean),
            "accumulation": 1,
            "learning_rate": 2e-3,
            "seed": 0,
        }
    return found


def _plain(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    return [{"ids": sample.ids, "weights": sample.weights} for sample in samples]


def measure(job: dict[str, Any], contenders: Sequence[str], rounds: int, name: str) -> list[dict[str, Numbers]]:
    """Each round's numbers by contender."""
    found: list[dict[str, Numbers]] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "job.json"
        for number in range(rounds):
            file.write_text(json.dumps(job | {"seed": number}))
            found.append({})
            for contender in contenders[:: 1 if number % 2 == 0 else -1]:
                numbers = once(contender, file)
                found[-1][contender] = numbers
                print(
                    f"{name}, round {number + 1} of {rounds}: {contender:<12} {numbers['tokens_per_second']:8,.0f} "
                    f"tokens/s, {numbers['tokens_per_cpu_second']:8,.0f} per CPU second, "
                    f"{numbers['peak_gib']:.2f} GiB, held-out loss {numbers['held_out_loss']:.3f}",
                    flush=True,
                )
    return found


def once(contender: str, file: Path) -> Numbers:
    """Train in a process of its own.

    Raises:
        SystemExit: it failed; with the end of what it said.
    """
    command = [sys.executable, "-m", "benchmarks.peers.train_once", contender, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{contender} failed:\n{done.stderr[-3000:]}")
    numbers: Numbers = json.loads(done.stdout.strip().splitlines()[-1])
    return numbers


def against_goals(name: str, rounds: list[dict[str, Numbers]]) -> list[dict[str, Any]]:
    """The medians of the rounds' ratios beside what they should be."""
    by_hand = [[one[c] for c in ("trl-grouped", "trl-packed") if c in one] for one in rounds]
    rows = []
    for peer in ("trainer", "trl", "trl by hand"):
        ratios = []
        for one, hand in zip(rounds, by_hand, strict=True):
            theirs = hand if peer == "trl by hand" else [one[peer]] if peer in one else []
            if theirs and "ours" in one:
                ratios.append(one["ours"]["tokens_per_second"] / max(each["tokens_per_second"] for each in theirs))
        if ratios:
            rows.append(_row(f"{name}: useful tokens/s beside {peer}", ratios, _GOALS[name, peer], least=True))
    if all({"ours", "trainer"} <= one.keys() for one in rounds):
        memory = [one["ours"]["peak_gib"] / one["trainer"]["peak_gib"] for one in rounds]
        loss = [one["ours"]["held_out_loss"] - one["trainer"]["held_out_loss"] for one in rounds]
        rows.append(_row(f"{name}: peak memory beside trainer", memory, 1.0, least=False))
        # Two seeds of the same contender differ by as much.
        rows.append(_row(f"{name}: held-out loss less trainer's, nats", loss, 0.05, least=False))
    return rows


def _row(what: str, values: list[float], goal: float, *, least: bool) -> dict[str, Any]:
    median = statistics.median(values)
    reached = median >= goal if least else median <= goal
    return {"what": what, "found": median, "rounds": values, "goal": goal, "reached": reached}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--alpaca", type=Path, help="a file of Alpaca rows; without it the short rows alone")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=150_000, help="useful tokens of each training")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--data", nargs="+", choices=("alpaca", "short"), default=["alpaca", "short"])
    arguments = parser.parse_args()
    document: dict[str, Any] = {"rows": [], "runs": {}}
    for name, job in jobs(arguments.alpaca, arguments.tokens).items():
        if name in arguments.data:
            found = measure(job, arguments.only, arguments.rounds, name)
            document["runs"][name] = found
            document["rows"] += against_goals(name, found)
    document["tokens"], document["batch_tokens"] = arguments.tokens, _BATCH_TOKENS
    print_rows(document["rows"])
    write_report(arguments.json, "training", document)


if __name__ == "__main__":
    main()
