"""The verdict as a page: the outcome, why, and where the differences lie."""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape

from tuneline.evaluation.report import metric_label
from tuneline.gate.verdict import Comparison, Verdict
from tuneline.page import page, table

_CLASS = {"PASS": "good", "FAIL": "bad", "INCONCLUSIVE": "wait"}
_COLOUR = {"PASS": "var(--good)", "FAIL": "var(--bad)", "INCONCLUSIVE": "var(--wait)"}
_WIDTH, _LEFT, _RIGHT, _ROW, _TOP = 1000, 210, 200, 52, 34


def to_html(verdict: Verdict) -> str:
    """Draw a verdict: sentences, a forest plot of the differences, and the numbers behind it."""
    name = metric_label(verdict.metric)
    body = f'<p class="{_CLASS[verdict.outcome]}" style="font-size:17px">{escape(verdict.sentence)}</p>'
    if verdict.comparisons:
        body += f"<h2>Difference in {escape(name)}, candidate minus opponent, in points of 100</h2>"
        body += forest_plot(verdict) + _numbers(verdict)
    body += f"<h2>How this was decided</h2><p>{escape(_rules(verdict))}</p>"
    return page(f"Verdict: {verdict.outcome}", f"{name} on {verdict.items} questions", body)


def forest_plot(verdict: Verdict) -> str:
    """An inline SVG: per opponent the difference as a dot, its interval as a bar, zero as a line."""
    ends = [value for c in verdict.comparisons for value in (c.low, c.high, c.difference)]
    low, high = min([*ends, 0.0]), max([*ends, verdict.min_difference, 0.0])
    margin = max((high - low) * 0.08, 0.002)
    low, high = low - margin, high + margin
    bottom = _TOP + _ROW * len(verdict.comparisons)

    def at(value: float) -> float:
        return round(_LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT), 1)

    parts = [_axis(at, low, high, bottom)]
    parts.append(f'<line x1="{at(0)}" y1="{_TOP}" x2="{at(0)}" y2="{bottom}" stroke="var(--ink)" stroke-width="1.5"/>')
    if verdict.min_difference:
        wanted = at(verdict.min_difference)
        parts.append(
            f'<line x1="{wanted}" y1="{_TOP}" x2="{wanted}" y2="{bottom}" stroke="var(--accent)" '
            f'stroke-dasharray="5 4"/><text x="{wanted}" y="{_TOP - 8}" text-anchor="middle">'
            f"must exceed {100 * verdict.min_difference:g}</text>"
        )
    parts += [_row(c, at, _TOP + _ROW * index + _ROW / 2) for index, c in enumerate(verdict.comparisons)]
    label = "; ".join(f"against {c.label}: {_interval(c)}" for c in verdict.comparisons)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {bottom + 30}" width="100%" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )


def _axis(at: Callable[[float], float], low: float, high: float, bottom: float) -> str:
    step = _nice_step(high - low)
    first = math.ceil(low / step)
    ticks = [index * step for index in range(first, math.floor(high / step) + 1)]
    return "".join(
        f'<line x1="{at(tick)}" y1="{_TOP}" x2="{at(tick)}" y2="{bottom}" stroke="var(--line)"/>'
        f'<text x="{at(tick)}" y="{bottom + 18}" text-anchor="middle">{100 * tick:+g}</text>'.replace("+0<", "0<")
        for tick in (round(tick, 6) for tick in ticks)
    )


def _row(c: Comparison, at: Callable[[float], float], middle: float) -> str:
    colour = _COLOUR[c.outcome]
    low, high = at(c.low), at(c.high)
    whiskers = "".join(
        f'<line x1="{x}" y1="{middle - 7}" x2="{x}" y2="{middle + 7}" stroke="{colour}" stroke-width="3"/>'
        for x in (low, high)
    )
    return (
        f'<text x="0" y="{middle + 4}" style="fill:var(--ink);font-size:14px">against {escape(c.label)}</text>'
        f'<line x1="{low}" y1="{middle}" x2="{high}" y2="{middle}" stroke="{colour}" stroke-width="3"/>{whiskers}'
        f'<circle cx="{at(c.difference)}" cy="{middle}" r="6" fill="{colour}"/>'
        f'<text x="{_WIDTH}" y="{middle + 4}" text-anchor="end" style="fill:{colour};font-size:14px">'
        f"{escape(_interval(c))}</text>"
    )


def _numbers(verdict: Verdict) -> str:
    header = ["against", "outcome", "candidate", "opponent", "difference", f"{verdict.confidence:.0%} interval"]
    header += ["better", "worse", "same", "luck"]
    rows = [
        [
            c.label,
            c.outcome,
            f"{100 * c.candidate_mean:.1f}",
            f"{100 * c.opponent_mean:.1f}",
            f"{100 * c.difference:+.1f}",
            f"{100 * c.low:+.1f} to {100 * c.high:+.1f}",
            str(c.wins),
            str(c.losses),
            str(c.ties),
            "below 0.0001" if c.luck < 0.0001 else f"{c.luck:.2g}",
        ]
        for c in verdict.comparisons
    ]
    return table(header, rows, frozenset(range(2, len(header))))


def _rules(verdict: Verdict) -> str:
    wanted = f"{100 * verdict.min_difference:g} points"
    return (
        f"Every question was put to all models and the differences were resampled {verdict.resamples:,} times (BCa "
        f"bootstrap, seed {verdict.seed}). The candidate passes if the whole {verdict.confidence:.0%} interval lies "
        f"above {wanted} and the split of better and worse answers is not a matter of luck. It fails if the interval "
        "lies at or below that, if nothing changed, if it did worse, or if the evaluation is broken. Otherwise, and "
        f"with fewer than {verdict.min_items} questions, nothing is decided. Only PASS moves a version on."
    )


def _interval(c: Comparison) -> str:
    return f"{100 * c.difference:+.1f}  [{100 * c.low:+.1f}, {100 * c.high:+.1f}]"


def _nice_step(span: float) -> float:
    """A step of 1, 2 or 5 times a power of ten that gives four to ten ticks."""
    power = 10.0 ** math.floor(math.log10(span / 4))
    return next(factor * power for factor in (1, 2, 5, 10) if span / (factor * power) <= 9)
