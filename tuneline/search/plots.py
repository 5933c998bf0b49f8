"""Drawings of a search as inline SVG: no script, so they show wherever the page does."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from tuneline.search.report import SearchedKey, SearchReport, short_names, shown_value
from tuneline.search.trial import Trial

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _BOTTOM = 900, 260, 56, 24, 28
_TINY_WIDTH, _TINY_HEIGHT = 300, 200


@dataclass(frozen=True)
class Axis:
    """From a value to its place, 0 to 1, and the values that are written beside it."""

    place: Callable[[Any], float]
    marks: tuple[tuple[str, float], ...]


def numbers(low: float, high: float, *, log: bool = False) -> Axis:
    """An axis of numbers."""
    high = high if high > low else low + (abs(low) or 1.0)
    if log:
        span = math.log(high / low)
        values = [low * math.exp(span * share) for share in (0, 0.5, 1)]
        return Axis(lambda v: math.log(v / low) / span, _marks(values, lambda v: math.log(v / low) / span))
    values = [low + (high - low) * share for share in (0, 0.25, 0.5, 0.75, 1)]
    return Axis(lambda v: (v - low) / (high - low), _marks(values, lambda v: (v - low) / (high - low)))


def axis_of(key: SearchedKey) -> Axis:
    """The axis of a searched key: its range, or its choices one beside the other."""
    if key.choices is None:
        return numbers(key.low or 0, key.high or 0, log=key.log)
    texts = [json.dumps(choice, sort_keys=True) for choice in key.choices]
    places = {text: (index + 0.5) / len(texts) for index, text in enumerate(texts)}
    marks = tuple((_cut(shown_value(choice)), places[text]) for choice, text in zip(key.choices, texts, strict=True))
    return Axis(lambda v: places[json.dumps(v, sort_keys=True)], marks)


def losses_axis(trials: Sequence[Trial]) -> Axis:
    """An axis for the losses that trials ended with; a few that went astray do not press all others together."""
    losses = sorted(trial.loss for trial in trials if trial.loss is not None)
    top = min(losses[-1], losses[len(losses) // 2] * 2) if losses[0] > 0 else losses[-1]
    rest = (top - losses[0]) * 0.08 or 0.1
    axis = numbers(max(0.0, losses[0] - rest), top + rest)
    mark, at = axis.marks[-1]
    highest = (f"≥ {mark}" if losses[-1] > top else mark, at)
    return Axis(lambda v: min(1.0, axis.place(v)), (*axis.marks[:-1], highest))


def history(report: SearchReport) -> str:
    """Loss by trial, with the best so far as a line."""
    judged = [trial for trial in report.trials if trial.loss is not None]
    y_axis, last = losses_axis(judged), max(1, *(trial.number for trial in report.trials))
    frame = _Frame(_WIDTH, _HEIGHT)
    best, line = math.inf, []
    for trial in judged:
        if trial.state == "complete" and trial.loss is not None:
            if best < math.inf:
                line.append((trial.number / last, y_axis.place(best)))
            best = min(best, trial.loss)
            line.append((trial.number / last, y_axis.place(best)))
    marks = tuple((str(number), number / last) for number in range(0, last + 1, max(1, last // 10)))
    dots = "".join(_dot(frame, report, trial, trial.number / last, y_axis) for trial in judged)
    return frame.drawn("validation loss by trial", y_axis.marks, marks, frame.line(line, "var(--accent)", 1.5) + dots)


def curves(report: SearchReport) -> str:
    """The validation loss of every trial while it trained, by the share of its run."""
    measured = [trial for trial in report.trials if trial.measured]
    if not measured:
        return ""
    losses = sorted(moment.loss for trial in measured for moment in trial.measured)
    y_axis = numbers(losses[0], losses[min(len(losses) - 1, int(len(losses) * 0.97))])
    frame = _Frame(_WIDTH, _HEIGHT)
    drawn = ""
    for trial in sorted(measured, key=lambda t: t.number == report.best):  # the best one on top
        points = [(moment.percent / 100, min(1.0, y_axis.place(moment.loss))) for moment in trial.measured]
        chosen = trial.number == report.best
        drawn += frame.line(points, "var(--accent)" if chosen else "var(--soft)", 2.5 if chosen else 1, trial)
    marks = tuple((f"{percent} %", percent / 100) for percent in (0, 25, 50, 75, 100))
    return frame.drawn("validation loss by share of the run", y_axis.marks, marks, drawn)


def slices(report: SearchReport) -> str:
    """For each key a small picture: its value across, the loss up."""
    judged = [trial for trial in report.trials if trial.loss is not None]
    y_axis = losses_axis(judged)
    drawn = ""
    for name, key in zip(short_names([key.key for key in report.keys]), report.keys, strict=True):
        frame, x_axis = _Frame(_TINY_WIDTH, _TINY_HEIGHT), axis_of(key)
        marks = x_axis.marks if key.choices is not None else x_axis.marks[:: max(1, len(x_axis.marks) // 2)]
        dots = "".join(_dot(frame, report, t, x_axis.place(t.values[key.key]), y_axis) for t in judged)
        picture = frame.drawn(f"loss by {name}", y_axis.marks[::2], marks, dots)
        drawn += (
            f'<figure style="margin:0;width:{_TINY_WIDTH}px"><figcaption>{escape(name)}</figcaption>{picture}</figure>'
        )
    return f'<div style="display:flex;flex-wrap:wrap;gap:12px 24px">{drawn}</div>'


def parallel(report: SearchReport) -> str:
    """One upright line for each key and for the loss, one thread for each trial through its values."""
    judged = sorted((t for t in report.trials if t.loss is not None), key=lambda t: -(t.loss or 0))
    axes = [axis_of(key) for key in report.keys] + [losses_axis(judged)]
    names = [*short_names([key.key for key in report.keys]), "validation loss"]
    left, right, top, bottom = 90, _WIDTH - 70, 26, _HEIGHT - 14
    xs = [left + (right - left) * index / (len(axes) - 1) for index in range(len(axes))]

    def y(place: float) -> float:
        return bottom - (bottom - top) * place

    drawn = "".join(
        f'<line x1="{x:.0f}" x2="{x:.0f}" y1="{top}" y2="{bottom}" stroke="var(--line)"/>'
        f'<text x="{x:.0f}" y="14" text-anchor="middle">{escape(name)}</text>'
        + "".join(f'<text x="{x + 5:.0f}" y="{y(at) + 4:.1f}">{escape(mark)}</text>' for mark, at in axis.marks)
        for x, name, axis in zip(xs, names, axes, strict=True)
    )
    for rank, trial in enumerate(judged):  # the best one last, so on top
        places = [axis.place(trial.values[key.key]) for axis, key in zip(axes, report.keys, strict=False)]
        places.append(axes[-1].place(trial.loss))
        points = " ".join(f"{x:.1f},{y(place):.1f}" for x, place in zip(xs, places, strict=True))
        chosen = trial.number == report.best
        strength = 0.15 + 0.55 * (rank + 1) / len(judged)
        style = (
            'stroke="var(--accent)" stroke-width="2.5"' if chosen else f'stroke="var(--soft)" opacity="{strength:.2f}"'
        )
        drawn += f'<polyline points="{points}" fill="none" {style}><title>{_title(trial)}</title></polyline>'
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="trials by their values">{drawn}</svg>'


def importance(report: SearchReport) -> str:
    """A bar for each key."""
    known = [
        (name, key.importance) for name, key in zip(short_names([k.key for k in report.keys]), report.keys, strict=True)
    ]
    drawn = ""
    for index, (name, share) in enumerate(sorted(known, key=lambda pair: -(pair[1] or 0))):
        y = 6 + 26 * index
        drawn += (
            f'<text x="150" y="{y + 13}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="160" y="{y}" width="{600 * (share or 0):.1f}" height="18" fill="var(--accent)"/>'
            f'<text x="{166 + 600 * (share or 0):.1f}" y="{y + 13}">{share or 0:.0%}</text>'
        )
    return f'<svg viewBox="0 0 {_WIDTH} {12 + 26 * len(known)}" role="img" aria-label="importance">{drawn}</svg>'


@dataclass(frozen=True)
class _Frame:
    width: int
    height: int

    def x(self, place: float) -> float:
        return _LEFT + (self.width - _LEFT - _RIGHT) * place

    def y(self, place: float) -> float:
        return 8 + (self.height - _BOTTOM - 8) * (1 - place)

    def line(self, points: Sequence[tuple[float, float]], colour: str, width: float, trial: Trial | None = None) -> str:
        path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        dash = ' stroke-dasharray="4 3"' if trial is not None and trial.state == "pruned" else ""
        title = f"<title>{_title(trial)}</title>" if trial is not None else ""
        return (
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{dash}>{title}</polyline>'
        )

    def drawn(
        self, label: str, up: Sequence[tuple[str, float]], across: Sequence[tuple[str, float]], inside: str
    ) -> str:
        grid = "".join(
            f'<line x1="{_LEFT}" x2="{self.width}" y1="{self.y(at):.1f}" y2="{self.y(at):.1f}" stroke="var(--line)"/>'
            f'<text x="{_LEFT - 6}" y="{self.y(at) + 4:.1f}" text-anchor="end">{escape(mark)}</text>'
            for mark, at in up
        )
        marks = "".join(
            f'<text x="{self.x(at):.1f}" y="{self.height - 6}" text-anchor="middle">{escape(mark)}</text>'
            for mark, at in across
        )
        size = f'viewBox="0 0 {self.width} {self.height}"'
        return f'<svg {size} role="img" aria-label="{escape(label)}">{grid}{marks}{inside}</svg>'


def _dot(frame: _Frame, report: SearchReport, trial: Trial, x: float, y_axis: Axis) -> str:
    """Filled where the training went to its end, hollow where it was given up; the best one is large."""
    radius = 7 if trial.number == report.best else 4.5
    colour = "var(--accent)" if trial.number == report.best else "var(--soft)"
    fill = colour if trial.state == "complete" else "none"
    return (
        f'<circle cx="{frame.x(x):.1f}" cy="{frame.y(y_axis.place(trial.loss)):.1f}" r="{radius}" fill="{fill}" '
        f'stroke="{colour}" stroke-width="1.5"><title>{_title(trial)}</title></circle>'
    )


def _title(trial: Trial) -> str:
    values = ", ".join(f"{key} {shown_value(value)}" for key, value in trial.values.items())
    return escape(f"trial {trial.number} ({trial.state}): loss {trial.loss or math.nan:.4f}; {values}")


def _marks(values: Sequence[float], place: Callable[[float], float]) -> tuple[tuple[str, float], ...]:
    return tuple((f"{value:.3g}", place(value)) for value in values)


def _cut(text: str) -> str:
    return text if len(text) <= 18 else f"{text[:17]}…"
