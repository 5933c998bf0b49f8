"""The decision: a candidate passes if it is proven better than everyone it has to beat, and not otherwise.

Broken input fails. A tie fails. Luck is called luck. What is not known stays where it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tuneline.evaluation.report import EvaluationReport, Role, SubjectResult, metric_label
from tuneline.gate.bootstrap import paired_bootstrap, sign_test
from tuneline.gate.verdict import Comparison, Outcome, Verdict

Opponent = Literal["base", "champion"]


class _BrokenEvaluationError(Exception):
    """The report does not hold what a comparison needs."""


def decide(
    report: EvaluationReport,
    *,
    metric: str | None = None,
    must_beat: Sequence[Opponent] = ("base", "champion"),
    confidence: float = 0.95,
    resamples: int = 10_000,
    min_items: int = 50,
    min_difference: float = 0.0,
    seed: int = 0,
) -> Verdict:
    """Judge a candidate by an evaluation report.

    Against each opponent, the mean of the paired differences is estimated with a BCa bootstrap
    interval. The candidate

    - passes if the whole interval lies above ``min_difference``, and (few changed answers make a bootstrap
      too sure of itself) so uneven a split of wins and losses is not a matter of luck either;
    - fails if the whole interval lies at or below it, if no score differs, or if it did worse;
    - is left undecided otherwise, and always with fewer than ``min_items`` questions.

    The verdict is the worst of the comparisons. A report that lacks anything fails.

    Args:
        report: what base model, champion and candidate answered.
        metric: what to compare; the report's primary metric unless given.
        must_beat: the opponents. A champion that does not exist need not be beaten, the base model then must.
        confidence: of the two-sided interval; 0.95 lets at most 2.5 % of the useless candidates pass.
        resamples: of the bootstrap.
        min_items: with fewer questions nothing is decided.
        min_difference: what the difference must exceed, in units of the metric.
        seed: of the bootstrap.
    """
    metric = metric or report.primary
    comparisons: list[Comparison] = []
    try:
        candidate = _checked(report, "candidate", metric)
        for role in _opponents(report, must_beat):
            opponent = _checked(report, role, metric)
            comparisons.append(_compare(candidate, opponent, metric, confidence, resamples, min_difference, seed))
    except _BrokenEvaluationError as error:
        comparisons = []
        outcome: Outcome = "FAIL"
        sentence = f"The evaluation is broken and proves nothing: {error}."
    else:
        outcome, sentence = _overall(comparisons, len(report.items), min_items)
    return Verdict(
        outcome=outcome,
        sentence=sentence,
        metric=metric,
        items=len(report.items),
        comparisons=tuple(comparisons),
        confidence=confidence,
        resamples=resamples,
        seed=seed,
        min_items=min_items,
        min_difference=min_difference,
    )


def _opponents(report: EvaluationReport, must_beat: Sequence[Opponent]) -> list[Role]:
    if not must_beat:
        raise _BrokenEvaluationError("nobody was named who must be beaten")
    roles: list[Role] = [role for role in must_beat if role == "base" or report.subject(role) is not None]
    return roles or ["base"]


def _checked(report: EvaluationReport, role: Role, metric: str) -> SubjectResult:
    """A subject that has a finite score for exactly the report's items."""
    subject = report.subject(role)
    if subject is None:
        raise _BrokenEvaluationError(f"the {role} was not evaluated")
    asked = [item.id for item in report.items]
    answered = [result.id for result in subject.results]
    if len(set(asked)) != len(asked):
        raise _BrokenEvaluationError("an item occurs twice")
    if answered != asked:
        missing = len(set(asked) - set(answered))
        raise _BrokenEvaluationError(
            f"the {role} answered {len(answered)} of {len(asked)} items" if missing else f"the {role}'s items differ"
        )
    for result in subject.results:
        value = result.scores.get(metric)
        if value is None or not math.isfinite(value):
            what = "no score" if value is None else f"the score {value}"
            raise _BrokenEvaluationError(f"item {result.id!r} of the {role} has {what} for {metric}")
    if len(asked) < 2:
        raise _BrokenEvaluationError(f"there are {len(asked)} items")
    return subject


def _compare(
    candidate: SubjectResult,
    opponent: SubjectResult,
    metric: str,
    confidence: float,
    resamples: int,
    min_difference: float,
    seed: int,
) -> Comparison:
    own, other = _scores(candidate, metric), _scores(opponent, metric)
    differences = own - other
    estimate = paired_bootstrap(differences, confidence=confidence, resamples=resamples, seed=seed)
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    is_binary = bool(np.isin(own, (0.0, 1.0)).all() and np.isin(other, (0.0, 1.0)).all())
    luck = sign_test(wins, losses) if is_binary else sign_test(wins + losses, 0)
    outcome: Outcome
    if wins + losses == 0 or estimate.difference < 0 or estimate.bca.high <= min_difference:
        outcome = "FAIL"
    elif estimate.bca.low > min_difference and luck < 1 - confidence:
        outcome = "PASS"
    else:
        outcome = "INCONCLUSIVE"
    unworded = Comparison(
        opponent=opponent.role,
        opponent_version=opponent.version,
        items=len(own),
        candidate_mean=float(own.mean()),
        opponent_mean=float(other.mean()),
        difference=estimate.difference,
        low=estimate.bca.low,
        high=estimate.bca.high,
        percentile_low=estimate.percentile.low,
        percentile_high=estimate.percentile.high,
        wins=wins,
        losses=losses,
        ties=len(own) - wins - losses,
        luck=luck,
        outcome=outcome,
        sentence="",
    )
    return unworded.model_copy(update={"sentence": _in_words(unworded, metric, confidence, min_difference)})


def _scores(subject: SubjectResult, metric: str) -> NDArray[np.float64]:
    return np.array([result.scores[metric] for result in subject.results], dtype=np.float64)


def _in_words(c: Comparison, metric: str, confidence: float, min_difference: float) -> str:
    """One sentence that a product owner understands."""
    name = metric_label(metric)
    points = (
        f"{_points(c.candidate_mean)} against {_points(c.opponent_mean)} of 100 points of {name} on {c.items} questions"
    )
    interval = f"with {confidence:.0%} confidence between {_signed(c.low)} and {_signed(c.high)} points"
    split = f"better on {c.wins}, worse on {c.losses}, the same on {c.ties}"
    needed = f" by more than {_points(min_difference)} points" if min_difference else ""
    if c.wins + c.losses == 0:
        return f"On none of the {c.items} questions does its {name} differ from that of {c.label}: nothing was gained"
    if c.outcome == "PASS":
        return f"It is better than {c.label}{needed}: {points}, {_signed(c.difference)}, {interval} ({split})"
    if c.high <= min_difference and c.difference < 0:
        return f"It is worse than {c.label}: {points}, {_signed(c.difference)}, {interval} ({split})"
    if c.difference < 0:
        return f"It did worse than {c.label}: {points}, {_signed(c.difference)}, {interval} ({split})"
    if c.outcome == "FAIL":
        return f"It is not better than {c.label}{needed}: {points}, {_signed(c.difference)}, {interval} ({split})"
    doubt = "" if c.low <= min_difference else f"; so few changed answers may be luck (probability {c.luck:.0%})"
    return (
        f"It is not known whether it is better than {c.label}{needed}: {points}, {_signed(c.difference)}, but "
        f"{interval} ({split}){doubt}"
    )


def _overall(comparisons: Sequence[Comparison], items: int, min_items: int) -> tuple[Outcome, str]:
    if items < min_items:
        return "INCONCLUSIVE", (
            f"Only {items} questions were asked and at least {min_items} are needed, so nothing is decided. Ask more."
        )
    order: tuple[Outcome, ...] = ("FAIL", "INCONCLUSIVE", "PASS")
    outcome = next(level for level in order if any(c.outcome == level for c in comparisons))
    # The sentence is about what decided, not about the comparison that happened to come first.
    reasons = ". ".join(c.sentence for c in comparisons if c.outcome == outcome)
    advice = " Ask more questions, or train further." if outcome == "INCONCLUSIVE" else ""
    opening = {"PASS": "The candidate is proven better", "FAIL": "The candidate does not pass"}
    return outcome, f"{opening.get(outcome, 'The evidence is not enough')}. {reasons}.{advice}"


def _points(value: float) -> str:
    return f"{100 * value:.1f}"


def _signed(value: float) -> str:
    return "0.0" if abs(value) < 0.0005 else f"{100 * value:+.1f}"
