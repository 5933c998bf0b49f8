"""The candidate's answers beside an opponent's, item by item: how much better each of them is."""

from __future__ import annotations

import math

from tuneline.config.metrics import metric_spec
from tuneline.evaluation.report import Role, SuiteReport

PREFERENCE = "preference"  # of a judge: kept per pair, not per subject


def opponent_of(suite: SuiteReport) -> Role | None:
    """Whom the candidate is shown beside: the champion, else the base model; None if it answered alone."""
    asked = {subject.role for subject in suite.subjects} | {judged.opponent for judged in suite.preferences}
    both: tuple[Role, ...] = ("champion", "base")
    return next((role for role in both if role in asked), None)


def scores(suite: SuiteReport, role: Role, metric: str) -> dict[str, float]:
    """A subject's scores by item, in the metric's unit. What has none, or one that is no number, is left out."""
    subject = suite.subject(role)
    found = {result.id: result.scores.get(metric, math.nan) for result in subject.results} if subject else {}
    return {item: score for item, score in found.items() if math.isfinite(score)}


def gains(suite: SuiteReport, metric: str, opponent: Role) -> dict[str, float]:
    """How much better the candidate's answer is, by item, where both have a score.

    Returns:
        Differences in the metric's unit, turned so that more is better. Of a judge's preference -1 to 1.
    """
    if metric == PREFERENCE:
        judged = suite.preferences_over(opponent)
        values = zip(suite.items, judged.values, strict=False) if judged else ()
        return {item.id: value for item, value in values if math.isfinite(value)}
    own, other = scores(suite, "candidate", metric), scores(suite, opponent, metric)
    both = own.keys() & other.keys()
    sign = 1 if metric_spec(metric).higher_is_better else -1
    return {item.id: sign * (own[item.id] - other[item.id]) for item in suite.items if item.id in both}
