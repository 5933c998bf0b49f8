"""How often the gate is wrong: 2,000 simulated candidates per case, whose truth is known, at 10,000 resamples each.

    python -m benchmarks.gate --json gate.json

Candidates without any difference should pass in at most 5 % of cases, those that are better by ten points on 300
questions, a quarter of them changed, in at least 90 %. Questions that are alike within their sources show why sources
are resampled whole.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import write_report
from tuneline.config import GateConfig
from tuneline.gate.compare import DecidingRole, compare, groups_of, weigh
from tuneline.gate.pairs import Pairs

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """Candidates of one kind.

    Attributes:
        name: what is tried.
        role: what the suite decides.
        threshold: of the rule, in points of 1.
        items: questions.
        discordant: share of them on which one of the two is right and the other wrong.
        gain: true difference, in points of 1.
        sources: how many there are; 0 if every question stands for itself.
        correlation: of the differences within a source.
        clusters: what the gate is told to resample.
        most: what share may pass at most.
        least: what share must pass at least.
    """

    name: str
    role: DecidingRole = "target"
    threshold: float = 0.0
    items: int = 300
    discordant: float = 0.25
    gain: float = 0.0
    sources: int = 0
    correlation: float = 0.0
    clusters: Literal["auto", "none"] = "auto"
    most: float | None = None
    least: float | None = None


_SAME = partial(Case, most=0.05)
_ALIKE = partial(Case, sources=30, correlation=0.3)
CASES = (
    _SAME("no difference, 2 % changed", discordant=0.02),
    _SAME("no difference, 10 % changed", discordant=0.10),
    _SAME("no difference, a quarter changed"),
    _SAME("no difference, half changed", discordant=0.50),
    _SAME("no difference, 60 questions", items=60),
    _SAME("no difference, 1,000 questions", items=1_000),
    _ALIKE("no difference, 30 sources, items resampled", clusters="none"),
    _ALIKE("no difference, 30 sources, sources resampled", most=0.05),
    _ALIKE("no difference, 100 sources, items resampled", sources=100, items=1_000, clusters="none"),
    _ALIKE("no difference, 100 sources, sources resampled", sources=100, items=1_000, most=0.05),
    Case("+5 points, a quarter changed", gain=0.05),
    Case("+10 points, a quarter changed", gain=0.10, least=0.90),
    Case("+10 points, 600 questions", gain=0.10, items=600, least=0.90),
    _ALIKE("+10 points, 30 sources, sources resampled", gain=0.10),
    Case("guard that loses its margin of 5 points", role="guard", threshold=-0.05, gain=-0.05, most=0.05),
    Case("guard that loses its margin of 2, few changes", role="guard", threshold=-0.02, gain=-0.02, discordant=0.02),
    Case(
        "guard that loses its margin of 2, 60 questions",
        role="guard",
        threshold=-0.02,
        gain=-0.02,
        discordant=0.02,
        items=60,
    ),
    Case("guard that loses nothing, margin of 5 points", role="guard", threshold=-0.05, discordant=0.10),
)


def differences_of(case: Case, rng: np.random.Generator) -> Scores:
    """One candidate's differences of -1, 0 and 1.

    Within a source they are copies of one draw with probability ``sqrt(correlation)`` each, which makes two of
    them equal beyond chance with probability ``correlation``.
    """
    win = (case.discordant + case.gain) / 2
    chances = [win, case.discordant - win, 1 - case.discordant]
    own = rng.choice([1.0, -1.0, 0.0], p=chances, size=case.items)
    if not case.sources:
        return own
    shared = np.repeat(rng.choice([1.0, -1.0, 0.0], p=chances, size=case.sources), case.items // case.sources)
    return np.where(rng.random(case.items) < case.correlation**0.5, shared, own)


def passes(case: Case, candidates: int, resamples: int) -> int:
    """Count the candidates that pass."""
    rng = np.random.default_rng(2026)
    each = case.items // case.sources if case.sources else case.items
    groups = groups_of([str(n // each) for n in range(case.items)], case.clusters)
    passed = 0
    for seed in range(candidates):
        rules = GateConfig(resamples=resamples, seed=seed)
        found = differences_of(case, rng)
        pairs = Pairs("champion", "1", found, 0.5 + float(found.mean()), 0.5, in_points=True)
        evidence = weigh(pairs, case.role, case.threshold, groups, rules)
        comparison = compare(evidence, case.role, case.threshold, confidence=rules.confidence, power=rules.power)
        passed += comparison.outcome == "PASS"
    return passed


def measure(candidates: int, resamples: int) -> dict[str, Any]:
    """Try every case; shares of the candidates that pass."""
    rows = []
    print(f"{'case':50} {'passes':>8}  {'wanted':>12}")
    for case in CASES:
        began = time.perf_counter()
        share = passes(case, candidates, resamples) / candidates
        seconds = time.perf_counter() - began
        wanted = "" if case.most is None else f"at most {case.most:.0%}"
        wanted = wanted if case.least is None else f"at least {case.least:.0%}"
        holds = (case.most is None or share <= case.most) and (case.least is None or share >= case.least)
        print(f"{case.name:50} {share:8.2%}  {wanted:>12} {'' if holds else 'MISSED'}", flush=True)
        rows.append({**asdict(case), "passes": share, "holds": holds, "milliseconds_each": 1000 * seconds / candidates})
    return {"candidates": candidates, "resamples": resamples, "cases": rows}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate", description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, help="where the numbers are written")
    parser.add_argument("--candidates", type=int, default=2_000, help="per case (default %(default)s)")
    parser.add_argument("--resamples", type=int, default=10_000, help="per candidate (default %(default)s)")
    options = parser.parse_args()
    numbers = measure(options.candidates, options.resamples)
    write_report(options.json, "gate", numbers)
    if missed := [row["name"] for row in numbers["cases"] if not row["holds"]]:
        raise SystemExit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
