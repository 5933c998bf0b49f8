"""The forest plot of a verdict: each difference a dot, its interval a bar, what was asked for a shaded area.

Positions are percentages of the drawing's width, so that the plot fits any screen while its text keeps its size.
Metrics of different units cannot stand on one axis: each unit has a plot of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from tuneline.evaluation.report import metric_label
from tuneline.evaluation.scale import Scale, scale_of
from tuneline.gate.verdict import Comparison, Outcome, Rule

CLASS: dict[Outcome, str] = {"PASS": "good", "FAIL": "bad", "INCONCLUSIVE": "wait"}
MARK: dict[Outcome, str] = {"PASS": "✓", "FAIL": "✗", "INCONCLUSIVE": "?"}
STYLE = """<style>
.forest{margin:0 0 26px}.forest .rule{margin:12px 0 2px;line-height:1.35}.forest .rule span{color:var(--soft)}
.forest .rule b{margin-right:8px}.forest p.why{margin:2px 0 8px 22px;color:var(--soft)}
.forest .row{display:grid;grid-template-columns:255px 1fr 200px;gap:0 16px;align-items:center;font-size:14px}
.forest .who{padding-left:22px}.forest .how{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.forest .how b{margin-right:4px}.forest svg{width:100%;overflow:visible;display:block}
.forest .asked{fill:var(--good);fill-opacity:.13}.forest .key{color:var(--soft);font-size:13px;margin:0 0 4px}
@media(max-width:700px){.forest .row{grid-template-columns:1fr auto;gap:0 8px;margin-bottom:6px}
.forest .who{padding:0}.forest p.why{margin-left:0}.forest svg{grid-row:2;grid-column:1/-1}}
@media print{.forest .block{break-inside:avoid}}
</style>"""
_ROW = 34  # pixels
_Place = Callable[[float], float]  # a difference, as percent of the width


def forest_plots(rules: Sequence[Rule]) -> str:
    """One plot per unit, in the order of the rules. A rule that could not be judged shows its sentence."""
    groups: dict[str, list[Rule]] = {}
    for rule in rules:
        groups.setdefault(scale_of(rule.metric).difference_unit, []).append(rule)
    return "".join(_plot(own, explained=place == 0) for place, own in enumerate(groups.values()))


def asked(rule: Rule) -> str:
    """What a rule asks for: ``exact match must improve by more than 2 points``."""
    scale, label = scale_of(rule.metric), metric_label(rule.metric)
    if rule.role == "guard":
        allowed = f"by {scale.amount(-rule.threshold)} or more" if rule.threshold else "at all"
        return f"{label} must not get worse {allowed}"
    return f"{label} must improve" + (f" by more than {scale.amount(rule.threshold)}" if rule.threshold else "")


def interval(comparison: Comparison, scale: Scale) -> str:
    """An interval's ends: ``+1.2 to +7.8``, the unit once."""
    low, high = scale.difference(comparison.low), scale.difference(comparison.high)
    return f"{low.removesuffix(' %')} to {high}"


def _plot(rules: Sequence[Rule], *, explained: bool) -> str:
    scale = scale_of(rules[0].metric)
    drawn = [(rule, comparison) for rule in rules for comparison in rule.comparisons]
    if not drawn:
        return f'<div class="forest">{"".join(_rule(rule, "") for rule in rules)}</div>'
    ends = [value for rule, c in drawn for value in (c.low, c.high, c.difference, rule.threshold)]
    low, high = min(0.0, *ends), max(0.0, *ends)
    margin = max((high - low) * 0.06, 0.002)
    low, high = low - margin, high + margin

    def at(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    ticks = _ticks(low, high)
    blocks = "".join(_rule(rule, "".join(_row(rule, c, scale, at, ticks) for c in rule.comparisons)) for rule in rules)
    title = {"points": "points of 100", "percent": "percent of the opponent's"}.get(
        scale.difference_unit, scale.difference_unit
    )
    key = (
        " The dot is what was measured, the bar its interval: to pass, the whole bar must lie in the shaded area."
        if explained
        else ""
    )
    return (
        f'<div class="forest"><p class="key">Difference in {escape(title)}, to the right is better.{key}</p>'
        f"{blocks}{_axis(at, ticks, scale)}</div>"
    )


def _rule(rule: Rule, rows: str) -> str:
    why = "" if rows else f'<p class="why">{escape(rule.sentence)}</p>'
    return (
        f'<div class="block"><p class="rule"><b class="{CLASS[rule.outcome]}">{MARK[rule.outcome]}</b>'
        f"<b>{escape(rule.suite)}</b><span>{escape(asked(rule))} · {rule.items:,} questions</span></p>{why}{rows}</div>"
    )


def _row(rule: Rule, c: Comparison, scale: Scale, at: _Place, ticks: Sequence[float]) -> str:
    colour, middle = f"var(--{CLASS[c.outcome]})", _ROW // 2
    grid = "".join(_line(at(tick), "var(--line)", 1) for tick in ticks)
    wanted = at(rule.threshold)
    bar = f'<line x1="{at(c.low)}%" x2="{at(c.high)}%" y1="{middle}" y2="{middle}" stroke="{colour}" stroke-width="4"/>'
    whiskers = "".join(_line(at(end), colour, 3, middle - 7, middle + 7) for end in (c.low, c.high))
    label = f"{rule.suite} against {c.label}: {scale.difference(c.difference)}, {interval(c, scale)}, {c.outcome}"
    return (
        f'<div class="row"><span class="who">against {escape(c.label)}</span>'
        f'<svg height="{_ROW}" role="img" aria-label="{escape(label)}">'
        f'<rect x="{wanted}%" y="0" width="{100 - wanted:.2f}%" height="{_ROW}" class="asked"/>'
        f"{grid}{_line(at(0.0), 'var(--ink)', 1.5)}"
        f"{_line(wanted, 'var(--good)', 1.5, dashed=True) if rule.threshold else ''}"
        f'{bar}{whiskers}<circle cx="{at(c.difference)}%" cy="{middle}" r="6" fill="{colour}"/></svg>'
        f'<span class="how {CLASS[c.outcome]}"><b>{escape(scale.difference(c.difference))}</b> '
        f"[{escape(interval(c, scale))}]</span></div>"
    )


def _line(x: float, colour: str, width: float, top: int = 0, bottom: int = _ROW, *, dashed: bool = False) -> str:
    dash = ' stroke-dasharray="4 3"' if dashed else ""
    return f'<line x1="{x}%" x2="{x}%" y1="{top}" y2="{bottom}" stroke="{colour}" stroke-width="{width}"{dash}/>'


def _axis(at: _Place, ticks: Sequence[float], scale: Scale) -> str:
    numbers = "".join(
        f'<text x="{at(tick)}%" y="14" text-anchor="middle">'
        f"{f'{scale.difference_factor * tick:+g}' if tick else '0'}{' %' if scale.relative else ''}</text>"
        for tick in ticks
    )
    return f'<div class="row"><span></span><svg height="20" aria-hidden="true">{numbers}</svg><span></span></div>'


def _ticks(low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, three to eight of them: more would touch on a telephone."""
    power: float = 10.0 ** math.floor(math.log10((high - low) / 4))
    step = next(factor * power for factor in (1, 2, 5, 10) if (high - low) / (factor * power) <= 7)
    return [round(place * step, 9) for place in range(math.ceil(low / step), math.floor(high / step) + 1)]
