"""Scores and differences as people read them, in the metric's own unit."""

from __future__ import annotations

import math

from tuneline.config.metrics import metric_spec

UNKNOWN = "–"  # noqa: RUF001 - a dash, for what has no number


def score(metric: str, value: float | None) -> str:
    """A mean: points of 100, or with its unit."""
    if value is None or math.isnan(value):
        return UNKNOWN
    spec = metric_spec(metric)
    return f"{100 * value:.1f}" if spec.unit == "points" else f"{value:.3g} {spec.unit}"


def amount(metric: str, value: float) -> str:
    """The size of a difference in words: ``2.5 points``, ``10.0%``, ``0.03 seconds``."""
    spec = metric_spec(metric)
    if spec.relative:
        return f"{100 * value:.1f}%"
    return f"{100 * value:.1f} points" if spec.unit == "points" else f"{value:.3g} {spec.unit}"


def difference(metric: str, value: float) -> str:
    """A difference with its sign, short enough for a table."""
    spec = metric_spec(metric)
    if spec.relative:
        return f"{100 * value:+.1f}%"
    return f"{100 * value:+.1f}" if spec.unit == "points" else f"{value:+.3g}"
