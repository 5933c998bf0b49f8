"""How often a canary is ended by mistake, and how soon when it should be: simulated answers, judged one by one.

    python -m benchmarks.canary --json canary.json

Of two equal versions at most 2 % of canaries may be ended within 10,000 answers, each of which is another look, and of
challengers that are just as much worse as their bounds allow no more either; one that is worse by a lot should be
ended within some hundred of its answers. Callers who differ (one in five asks for so few tokens that every version is
cut off; prompts of different lengths) must not count against a version.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.report import write_report
from serving.canary.judge import judge
from serving.canary.window import Answer, Window
from tuneline.release import CanaryBounds

BOUNDS = CanaryBounds()
ANSWERS = 10_000


@dataclass(frozen=True)
class Version:
    """How one version answers: shares of 1, and the median time to first token in seconds (log-normal)."""

    errors: float = 0.002
    empty: float = 0.01
    overlong: float = 0.05
    ttft: float = 0.2
    spread: float = 0.8


@dataclass(frozen=True)
class Case:
    """Canaries of one kind.

    Attributes:
        percent: the challenger's share.
        callers: how many ask; 0 if every answer is another caller's.
        differ: callers are cut off always or never, and have a time to first token of their own.
        most: share of canaries that may be ended at most.
        least: share that must be ended at least.
    """

    name: str
    champion: Version = Version()
    challenger: Version = Version()
    percent: float = 10
    callers: int = 0
    differ: bool = False
    most: float | None = None
    least: float | None = None


def _equal(name: str, version: Version, **changes: Any) -> Case:
    return Case(name, version, version, most=0.02, **changes)


FREQUENT = Version(errors=0.05, empty=0.1, overlong=0.3, spread=1.5)
RARE = Version(errors=0.0005, empty=0.0005, overlong=0.001, spread=0.3)
CHAMPION = Version()
AT_ITS_BOUND = {
    "errors": replace(CHAMPION, errors=CHAMPION.errors + BOUNDS.errors / 100),
    "empty": replace(CHAMPION, empty=CHAMPION.empty + BOUNDS.empty / 100),
    "overlong": replace(CHAMPION, overlong=CHAMPION.overlong + BOUNDS.overlong / 100),
    "ttft": replace(CHAMPION, ttft=CHAMPION.ttft * BOUNDS.ttft),
}
CASES = (
    *(_equal(f"equal, {percent} % of traffic", Version(), percent=percent) for percent in (2, 10, 50)),
    *(_equal(f"equal and often bad, {percent} % of traffic", FREQUENT, percent=percent) for percent in (2, 10, 50)),
    _equal("equal and hardly ever bad", RARE),
    _equal("equal, 20 callers who differ", Version(), percent=20, callers=20, differ=True),
    _equal("equal, 200 callers who differ", Version(), callers=200, differ=True),
    *(
        Case(f"as bad as allowed: {bound}, {percent} % of traffic", challenger=version, percent=percent, most=0.02)
        for bound, version in AT_ITS_BOUND.items()
        for percent in (10, 50)
    ),
    Case("every answer fails", challenger=Version(errors=1.0), least=0.99),
    Case("one answer in ten fails", challenger=Version(errors=0.1), least=0.95),
    Case("one answer in twenty fails, 50 % of traffic", challenger=Version(errors=0.05), percent=50, least=0.95),
    Case("one answer in five is empty", challenger=Version(empty=0.2), least=0.95),
    Case("one in four is cut off, 50 % of traffic", challenger=Version(overlong=0.25), percent=50, least=0.95),
    Case("half are cut off", challenger=Version(overlong=0.5), least=0.95),
    Case("half are cut off, 200 callers", challenger=Version(overlong=0.5), callers=200, least=0.95),
    Case("three times slower", challenger=Version(ttft=0.6), least=0.95),
)


def canary(case: Case, seed: int) -> tuple[str, int] | None:
    """Simulate one canary.

    Returns:
        The reason it was ended for and the number of the challenger's answers by then, or None.
    """
    luck = random.Random(seed)
    window = Window(BOUNDS.min_requests)
    if case.callers:
        callers = [(number, luck.random() * 100 < case.percent, luck) for number in range(case.callers)]
        habits = [(luck.random() < 0.2, luck.lognormvariate(0, 0.8)) for _ in callers]
    for number in range(ANSWERS):
        caller = luck.randrange(case.callers) if case.callers else number
        drawn = callers[caller][1] if case.callers else luck.random() * 100 < case.percent
        version = case.challenger if drawn else case.champion
        overlong, ttft = luck.random() < version.overlong, luck.lognormvariate(0, version.spread) * version.ttft
        if case.differ:
            overlong, ttft = overlong or habits[caller][0], ttft * habits[caller][1]
        answer = Answer(caller, luck.random() < version.errors, luck.random() < version.empty, overlong, ttft)
        window.add(answer, challenger=drawn)
        if drawn and (verdict := judge(window, BOUNDS, "1")) is not None:
            return verdict.reason, window.seen
    return None


def run(case: Case, canaries: int, workers: int) -> dict[str, Any]:
    """Simulate many canaries of one case."""
    with ProcessPoolExecutor(workers) as pool:
        ended = [end for end in pool.map(partial(canary, case), range(canaries), chunksize=10) if end is not None]
    reasons = [reason for reason, _ in ended]
    share = len(ended) / canaries
    return {
        **asdict(case),
        "canaries": canaries,
        "ended": share,
        "reasons": {reason: reasons.count(reason) for reason in sorted(set(reasons))},
        "median_answers": statistics.median(answers for _, answers in ended) if ended else None,
        "ok": (case.most is None or share <= case.most) and (case.least is None or share >= case.least),
    }


def main() -> None:
    """Print and write what each case came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--canaries", type=int, default=1000, help="simulated canaries of each case")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    began = time.monotonic()
    results = []
    for case in CASES:
        result = run(case, options.canaries, options.workers)
        results.append(result)
        soon = f", after {result['median_answers']:.0f} answers" if result["median_answers"] else ""
        print(f"{'ok ' if result['ok'] else 'BAD'} {case.name}: {result['ended']:.1%} ended{soon} {result['reasons']}")
    if options.json is not None:
        seconds = round(time.monotonic() - began)
        write_report(options.json, "canary", {"answers": ANSWERS, "seconds": seconds, "cases": results})


if __name__ == "__main__":
    main()
