"""How the numbers of a metric are written for people: points of a hundred, percent, or the metric's own unit."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tuneline.config.metrics import metric_spec


@dataclass(frozen=True)
class Scale:
    """What stands beside a number, and what it is multiplied with before it is shown.

    Attributes:
        unit: of values: ``points``, ``tokens``, ``seconds`` …
        relative: whether differences are shares, shown in percent.
        higher_is_better: which way is better.
    """

    unit: str
    relative: bool
    higher_is_better: bool

    @property
    def difference_unit(self) -> str:
        """Of differences; what has the same one can stand on the same axis."""
        return "percent" if self.relative else self.unit

    @property
    def difference_factor(self) -> int:
        """What a difference is multiplied with before it is shown."""
        return 100 if self.relative or self.unit == "points" else 1

    def value(self, value: float | None) -> str:
        """A mean or a score: ``81.5`` points, ``1.32`` nats; a dash if there is none."""
        if value is None or not math.isfinite(value):
            return "—"
        return f"{100 * value:.1f}" if self.unit == "points" else _plain(value)

    def difference(self, difference: float | None) -> str:
        """A difference with its sign: ``+4.5`` points, ``-3.0 %``; a dash if there is none."""
        if difference is None or not math.isfinite(difference):
            return "—"
        shown = self.difference_factor * difference
        if self.difference_factor == 1:
            return _plain(shown, sign="+")
        text = "0.0" if abs(shown) < 0.05 else f"{shown:+.1f}"
        return f"{text} %" if self.relative else text

    def amount(self, difference: float) -> str:
        """A threshold in words: ``2 points``, ``5 %``, ``0.1 nats per token``."""
        shown = f"{self.difference_factor * difference:.6g}"
        return f"{shown} %" if self.relative else f"{shown} {self.unit}"


def scale_of(metric: str) -> Scale:
    """How a metric's numbers are written."""
    spec = metric_spec(metric)
    return Scale(unit=spec.unit, relative=spec.relative, higher_is_better=spec.higher_is_better)


def _plain(value: float, sign: str = "") -> str:
    """About three digits, without an exponent."""
    size = abs(value)
    if size < 0.0005:
        return "0"
    decimals = 0 if size >= 1000 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:{sign},.{decimals}f}"
