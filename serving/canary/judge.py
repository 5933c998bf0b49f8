"""Whether a challenger is worse than production by more than its bounds allow, and not by chance.

The question is asked again after every answer, for hours. A test at the usual 5 % would sooner or later say yes of two
equal versions, so each criterion has 0.25 % for the whole life of a canary, spent in ever smaller parts. Measured by
`benchmarks/canary.py` over 10,000 answers: none of 2,700 canaries of equal versions was ended, and up to 0.9 % of 1,000
whose challenger is exactly as bad as a bound allows, since looks between two fresh ones are not quite free.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Literal

from serving.canary.window import STEP, Answer, Window
from tuneline.release import CanaryBounds

Reason = Literal["errors", "empty", "overlong", "ttft"]

_FALSE_ABORTS = 0.0025  # per criterion; there are four
_TTFT_EVERY = 5  # answers between two looks at the medians
_TTFT_MANY = 200  # from here on every 25th is soon enough: sorting a full window takes 1 ms, while nobody is answered
_TTFT_SECONDS = 0.05  # a difference nobody feels: 10 ms and 25 ms are a factor of 2.5
_SHARES: tuple[Reason, ...] = ("errors", "empty", "overlong")
_WORDS = {"errors": "failed", "empty": "were empty", "overlong": "were cut off at their limit"}


@dataclass(frozen=True)
class Verdict:
    """The challenger's canary is to end.

    Attributes:
        reason: which bound was broken.
        numbers: for people, e.g. ``9.1 % of its 55 answers failed, 0.2 % of version 6's (2 points allowed)``.
    """

    reason: Reason
    numbers: str


def judge(window: Window, bounds: CanaryBounds, champion: str) -> Verdict | None:
    """Judge a challenger by what it and production answered in the same time.

    Args:
        champion: production's version, for the sentence.

    Returns:
        The first bound that is broken, or None while none is or there are fewer answers than ``bounds.min_requests``.
    """
    new, old = window.challenger.counts, window.champion.counts
    if window.seen < bounds.min_requests:
        return None
    for reason in _SHARES:
        hits, other_hits, allowed = getattr(new, reason), getattr(old, reason), getattr(bounds, reason)
        if not hits or not _exceeds(hits, other_hits, allowed, window, bounds):
            continue
        if reason != "overlong" or _beyond_callers(window, lambda answer: answer.overlong, allowed / 100, bounds):
            return Verdict(reason, _sentence(reason, hits, other_hits, window, allowed, champion))
    every = _TTFT_EVERY if window.seen < _TTFT_MANY else STEP
    return _ttft(window, bounds, champion) if window.seen % every == 0 else None


def level(seen: int, min_requests: int, length: int) -> float:
    """How improbable a difference must be after ``seen`` answers of the challenger.

    Looks at nearly the same answers say nearly the same. A fresh one comes with each doubling of the answers, and with
    each whole window once it slides; the n-th of them may spend 1/n(n+1) of ``_FALSE_ABORTS``.
    """
    fresh = 1 + math.log2(max(1.0, min(seen, length) / min_requests)) + max(0, seen - length) / length
    return _FALSE_ABORTS / (fresh * (fresh + 1))


def chance(hits: int, answers: int, other_hits: int, other_answers: int) -> float:
    """How probable so many hits among ``answers`` are if they fall on all answers alike.

    Fisher's exact test, one-sided. A canary has few failures among few answers, and there the usual intervals err: of
    two versions that both fail 0.5 %, Newcombe's at three standard errors ended 1.8 % of canaries at the first look,
    and this 0.04 %.
    """
    everything, all_hits = answers + other_answers, hits + other_hits
    term = math.exp(
        _ln_choose(answers, hits) + _ln_choose(other_answers, other_hits) - _ln_choose(everything, all_hits)
    )
    total = 0.0
    for i in range(hits, min(answers, all_hits) + 1):
        total += term
        term *= (answers - i) * (all_hits - i) / ((i + 1) * (other_answers - all_hits + i + 1))
    return total


def chance_of_more(hits: int, answers: int, share: float) -> float:
    """How probable at least ``hits`` among ``answers`` are at a share of 1: the upper tail of the binomial."""
    if not 0 < share < 1:
        return float(share > 0)
    term = math.exp(_ln_choose(answers, hits) + hits * math.log(share) + (answers - hits) * math.log1p(-share))
    total = 0.0
    for i in range(hits, answers + 1):
        total += term
        term *= (answers - i) / (i + 1) * share / (1 - share)
        if term < total * 1e-9 and i > answers * share:
            break
    return total


def _ln_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _exceeds(hits: int, other_hits: int, allowed: float, window: Window, bounds: CanaryBounds) -> bool:
    """Whether a share is more than ``allowed`` points above production's, and above that beyond chance.

    To be beyond chance above production alone is not enough: of challengers that failed 1.5 points more often, with 2
    allowed, that ended 54 %. So all three must hold: Fisher's test says that it is above production; the binomial,
    exact for the few failures of a few answers, that it is above what is allowed; and the normal approximation says so,
    too, which knows how uncertain production's own share is.
    """
    new, old = window.challenger.counts, window.champion.counts
    # without answers of production nothing tells what share the questions themselves bring with them
    other = other_hits / old.answers if old.answers else 0.0
    most, share = other + allowed / 100, hits / new.answers
    if share <= most:
        return False
    enough = level(window.seen, bounds.min_requests, window.length)
    if chance_of_more(hits, new.answers, most) >= enough:
        return False
    if not old.answers:
        return True
    error = math.sqrt(most * (1 - most) / new.answers + other * (1 - other) / old.answers)
    return share - most > _z(enough) * error and chance(hits, new.answers, other_hits, old.answers) < enough


def _z(probability: float) -> float:
    """How many standard errors the normal distribution exceeds with this probability."""
    return -statistics.NormalDist().inv_cdf(probability)


def _ttft(window: Window, bounds: CanaryBounds, champion: str) -> Verdict | None:
    new = [answer.ttft for answer in window.challenger.sampled() if answer.ttft is not None]
    old = [answer.ttft for answer in window.champion.sampled() if answer.ttft is not None]
    if min(len(new), len(old)) * 2 < bounds.min_requests:
        return None
    slow, usual = statistics.median(new), statistics.median(old)
    if slow <= usual * bounds.ttft or slow - usual < _TTFT_SECONDS:
        return None
    limit = max(usual * bounds.ttft, usual + _TTFT_SECONDS)
    # a median is above the limit when more than half of the answers are; production's share of those is its own
    allowed = 0.5 - sum(ttft > limit for ttft in old) / len(old)
    if not _beyond_callers(
        window, lambda answer: None if answer.ttft is None else answer.ttft > limit, allowed, bounds
    ):
        return None
    return Verdict(
        "ttft",
        f"the median time to first token of its {len(new)} streamed answers was {slow * 1000:.0f} ms, "
        f"{usual * 1000:.0f} ms of version {champion}'s ({bounds.ttft:g} times as much allowed)",
    )


def _beyond_callers(window: Window, of: Callable[[Answer], bool | None], allowed: float, bounds: CanaryBounds) -> bool:
    """Whether a difference is above what is allowed by more than the luck of which callers the challenger drew.

    A caller who asks for 16 tokens is cut off by every version, one with long prompts waits for every version. Callers
    are what is drawn, so the variance is taken over callers, not over answers (for a ratio of cluster totals: Cochran,
    Sampling Techniques, 1977, 6.3). With few callers that variance is itself uncertain; so the difference must be there
    without the caller that shows it most, too.

    Args:
        of: whether an answer shows what is being judged; None leaves it out.
        allowed: by how much the share may exceed production's, of 1.
    """
    z = _z(level(window.seen, bounds.min_requests, window.length))
    new = _by_caller(window.challenger.sampled(), of)
    old = _by_caller(window.champion.sampled(), of)
    most = max(new, key=lambda caller: new[caller][0])
    rest = {caller: totals for caller, totals in new.items() if caller != most}
    if not rest:
        return False
    if not old:
        return _share(rest) > allowed
    return all(_share(side) - _share(old) > allowed + z * _error(side, old) for side in (new, rest))


Totals = dict[Hashable, tuple[int, int]]  # hits and answers of each caller


def _by_caller(answers: list[Answer], of: Callable[[Answer], bool | None]) -> Totals:
    totals: dict[Hashable, list[int]] = defaultdict(lambda: [0, 0])
    for answer in answers:
        if (hit := of(answer)) is not None:
            totals[answer.caller][0] += hit
            totals[answer.caller][1] += 1
    return {caller: (hits, number) for caller, (hits, number) in totals.items()}


def _share(side: Totals) -> float:
    return sum(hits for hits, _ in side.values()) / sum(number for _, number in side.values())


def _error(new: Totals, old: Totals) -> float:
    """The standard error of the difference of two shares if all callers come from one population."""
    everyone = [*new.values(), *old.values()]
    share = sum(hits for hits, _ in everyone) / sum(number for _, number in everyone)
    spread = sum((hits - share * number) ** 2 for hits, number in everyone)
    variance = spread / sum(number**2 for _, number in everyone)
    parts = (sum(n**2 for _, n in side.values()) / sum(n for _, n in side.values()) ** 2 for side in (new, old))
    return math.sqrt(variance * sum(parts))


def _sentence(reason: Reason, hits: int, other_hits: int, window: Window, allowed: float, champion: str) -> str:
    new, old = window.challenger.counts.answers, window.champion.counts.answers
    said = f"{hits / new * 100:.1f} % of its {new} answers {_WORDS[reason]}"
    if not old:
        return f"{said} ({allowed:g} % allowed, as version {champion} answered nothing meanwhile)"
    return f"{said}, {other_hits / old * 100:.1f} % of version {champion}'s ({allowed:g} points allowed)"
