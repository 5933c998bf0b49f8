"""Plots of a training as inline SVG: loss, validation loss, learning rate and speed by optimizer step.

One or two runs share a plot, each in a colour of its own; validation is dashed, and has the second colour where there
is one run alone. Colours are CSS variables, so a plot
is readable in light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from tuneline.page import PALETTE

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 900, 260, 64, 12, 26, 26
_COLOURS = ("var(--accent)", "var(--wait)")

Moment = dict[str, float]


@dataclass(frozen=True)
class Line:
    """A line of a plot.

    Attributes:
        name: as the legend has it.
        points: (step, value), by rising step.
        colour: CSS.
        dashed: rather than solid.
    """

    name: str
    points: list[tuple[float, float]]
    colour: str = _COLOURS[0]
    dashed: bool = False


def plots(runs: dict[str, Sequence[Moment]]) -> dict[str, str]:
    """Draw the curves of one or two runs.

    Args:
        runs: the moments of each by its name, with the fields of ``Progress``; old runs may lack some.

    Returns:
        SVG elements by their titles; what no run has measured is left out.
    """
    drawn = {
        "Loss by step, nats per supervised token": _lines(runs, "loss") + _lines(runs, "validation_loss", dashed=True),
        "Learning rate": _lines(runs, "learning_rate"),
        "Speed, useful tokens per second": _lines(runs, "tokens_per_second"),
        "Length of the gradient before clipping": _lines(runs, "grad_norm"),
    }
    return {title: _svg(lines, title) for title, lines in drawn.items() if lines}


def curve_svg(curve: Sequence[Moment]) -> str:
    """The loss of one run as a file of its own, which pictures itself in light and dark."""
    lines = _lines({"": curve}, "loss") + _lines({"": curve}, "validation_loss", dashed=True)
    drawn = _svg(lines, "Loss by step, nats per supervised token")
    style = f"{PALETTE}svg{{background:var(--back)}}text{{fill:var(--soft);font:12px system-ui,sans-serif}}"
    return drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1).replace(
        ">", f"><style>{style}</style>", 1
    )


def _lines(runs: dict[str, Sequence[Moment]], field: str, *, dashed: bool = False) -> list[Line]:
    found = []
    colours = _COLOURS[::-1] if dashed and len(runs) == 1 else _COLOURS
    for (name, curve), colour in zip(runs.items(), colours, strict=False):
        points = [(moment["step"], moment[field]) for moment in curve if moment.get(field) is not None]
        if points:
            label = {"loss": "training", "validation_loss": "validation"}.get(field, field.replace("_", " "))
            found.append(Line(f"{name} {label}".strip() if name else label, points, colour, dashed))
    return found


def _svg(lines: Sequence[Line], title: str) -> str:
    values = [value for line in lines for _, value in line.points]
    last = max(step for line in lines for step, _ in line.points)
    ticks = _ticks(max(values))
    top = ticks[-1]

    def x(step: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * step / last

    def y(value: float) -> float:
        return _TOP + (_HEIGHT - _BOTTOM - _TOP) * (1 - value / top)

    grid = "".join(
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="var(--line)"/>'
        f'<text x="{_LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:,.6g}</text>'
        for tick in ticks
    )
    steps = sorted({round(last * quarter / 4) for quarter in range(5)})
    marks = "".join(
        f'<text x="{x(step):.1f}" y="{_HEIGHT - 6}" text-anchor="{"end" if step == last else "middle"}">{step}</text>'
        for step in steps
    )
    drawn = "".join(_polyline(line, x, y) for line in lines)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{grid}{marks}{drawn}{_legend(lines)}</svg>"
    )


def _polyline(line: Line, x: Callable[[float], float], y: Callable[[float], float]) -> str:
    dash = ' stroke-dasharray="5 4"' if line.dashed else ""
    points = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in line.points)
    if len(line.points) == 1:
        step, value = line.points[0]
        return f'<circle cx="{x(step):.1f}" cy="{y(value):.1f}" r="3" fill="{line.colour}"/>'
    return f'<polyline points="{points}" fill="none" stroke="{line.colour}" stroke-width="2"{dash}/>'


def _legend(lines: Sequence[Line]) -> str:
    drawn, at = [], float(_LEFT)
    for line in lines:
        dash = ' stroke-dasharray="5 4"' if line.dashed else ""
        drawn.append(
            f'<line x1="{at:.0f}" x2="{at + 22:.0f}" y1="12" y2="12" stroke="{line.colour}" stroke-width="2"{dash}/>'
            f'<text x="{at + 28:.0f}" y="16">{escape(line.name)}</text>'
        )
        at += 52 + 7 * len(line.name)
    return "".join(drawn)


def _ticks(largest: float) -> list[float]:
    """Round numbers from 0 to at least the largest value, three to six of them."""
    if largest <= 0:
        return [0.0, 1.0]
    power = 10 ** math.floor(math.log10(largest))
    step = next(part * power for part in (0.2, 0.25, 0.5, 1, 2, 2.5) if largest / (part * power) <= 5)
    return [step * number for number in range(math.ceil(largest / step - 1e-9) + 1)]
