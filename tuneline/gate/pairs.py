"""A suite as paired differences: of each item, how much better the candidate did than one opponent.

This is where a broken evaluation is found out: an answer or a score that is not there proves nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuneline.config.metrics import MetricSpec, metric_spec
from tuneline.evaluation.report import ItemResult, Role, SubjectResult, SuiteReport
from tuneline.gate.bootstrap import DECIMALS

_ANSWERED = ("heldout", "questions", "prompts")


class BrokenEvaluationError(Exception):
    """The report does not hold what a comparison needs."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Candidate and one opponent on the same items.

    Attributes:
        opponent: the other one.
        opponent_version: its model version, None for the base model.
        differences: per item, more is better for the candidate, in units of the metric or, of a relative metric,
            as shares of the opponent's mean.
        candidate_mean: in units of the metric; of a judge the share of items won, ties half.
        opponent_mean: likewise.
        in_points: whether an item can lose one at most.
    """

    opponent: Role
    opponent_version: str | None
    differences: NDArray[np.float64]
    candidate_mean: float
    opponent_mean: float
    in_points: bool


def pair(suite: SuiteReport, opponent: Role, metric: str) -> Pairs:
    """Take the paired differences of a suite.

    An answer of the candidate that was cut off has the worst score, 0, where points are given for answers.
    The opponents' answers count as they are, so that cutting off never helps a candidate.

    Raises:
        BrokenEvaluationError: an item, an answer or a score is missing, was refused, or is no number.
    """
    own, other = _subject(suite, "candidate"), _subject(suite, opponent)
    if suite.kind == "judge":
        return _judged(suite, other)
    spec = metric_spec(metric)
    cut = set(truncated(suite, metric))
    scores = np.array([0.0 if n in cut else score for n, score in enumerate(_scores(own, metric))])
    opposed = np.array(_scores(other, metric))
    means = float(scores.mean()), float(opposed.mean())
    differences = _oriented(scores - opposed, spec, other.role, means[1])
    return Pairs(other.role, other.version, differences, *means, in_points=spec.unit == "points")


def truncated(suite: SuiteReport, metric: str) -> list[int]:
    """The places of the candidate's answers that were cut off and count as wrong for it."""
    own = suite.subject("candidate")
    if own is None or suite.kind not in _ANSWERED or metric_spec(metric).unit != "points":
        return []
    return [place for place, result in enumerate(own.results) if not result.finished]


def _subject(suite: SuiteReport, role: Role) -> SubjectResult:
    """A subject that answered exactly the suite's items, in their order."""
    subject = suite.subject(role)
    if subject is None:
        raise BrokenEvaluationError(f"the {role} was not evaluated")
    asked = [item.id for item in suite.items]
    answered = [result.id for result in subject.results]
    if len(asked) < 2:
        raise BrokenEvaluationError(f"there are {len(asked)} items")
    twice = next((name for name in asked if asked.count(name) > 1), None) if len(set(asked)) < len(asked) else None
    if twice is not None:
        raise BrokenEvaluationError(f"item {twice!r} occurs twice")
    if answered != asked:
        raise BrokenEvaluationError(_unlike(role, asked, answered))
    for result in subject.results:
        if result.error is not None:
            raise BrokenEvaluationError(f"item {result.id!r} was not answered by the {role} ({result.error})")
    return subject


def _unlike(role: Role, asked: Sequence[str], answered: Sequence[str]) -> str:
    known = set(answered)
    missing = [name for name in asked if name not in known]
    if missing:
        return f"the {role} answered {len(asked) - len(missing)} of {len(asked)} items, and not {missing[0]!r}"
    place = next((n for n, (a, b) in enumerate(zip(asked, answered, strict=False)) if a != b), len(asked))
    return f"the {role}'s items differ from those asked, first at {answered[place]!r}"


def _scores(subject: SubjectResult, metric: str) -> list[float]:
    return [_score(result, subject.role, metric) for result in subject.results]


def _score(result: ItemResult, role: Role, metric: str) -> float:
    value = result.scores.get(metric)
    if value is None or not math.isfinite(value):
        what = "no score" if value is None else f"the score {value}"
        raise BrokenEvaluationError(f"item {result.id!r} of the {role} has {what} for {metric}")
    return value


def _oriented(
    differences: NDArray[np.float64], spec: MetricSpec, opponent: Role, opponent_mean: float
) -> NDArray[np.float64]:
    if spec.relative:
        if opponent_mean <= 0:
            raise BrokenEvaluationError(f"the {opponent}'s mean {spec.label} is {opponent_mean}, which has no shares")
        # The mean is taken as known: what it varies by is small beside what the differences vary by.
        differences = differences / opponent_mean
    return np.round(differences if spec.higher_is_better else -differences, DECIMALS)


def _judged(suite: SuiteReport, other: SubjectResult) -> Pairs:
    found = suite.preferences_over(other.role)
    if found is None:
        raise BrokenEvaluationError(f"no judge compared the candidate with the {other.role}")
    if len(found.values) != len(suite.items):
        raise BrokenEvaluationError(f"the judge compared {len(found.values)} of {len(suite.items)} answers")
    for item, value in zip(suite.items, found.values, strict=True):
        if not math.isfinite(value):
            raise BrokenEvaluationError(f"the judge gave no usable answer on item {item.id!r} against the {other.role}")
    values = np.array(found.values)
    won = float(((values + 1) / 2).mean())
    return Pairs(other.role, other.version, np.round(values, DECIMALS), won, 1 - won, in_points=True)
