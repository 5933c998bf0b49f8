"""Two versions' trainings side by side: their curves in one plot, and of all else only what differs."""

from __future__ import annotations

from html import escape
from typing import Any

from tuneline.page import page
from tuneline.training.curve import plots
from tuneline.training.page import origin_rows, shown
from tuneline.training.record import TrainingRecord

# What is larger or smaller for the better; all other numbers are neither.
_LOWER_IS_BETTER = ("final_loss", "best_validation_loss", "seconds", "peak_memory_gib")
_HIGHER_IS_BETTER = ("tokens_per_second",)


def differences(one: dict[str, Any], other: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Keys whose values are not the same in both, with both values; None where a side has none."""
    keys = [*one, *(key for key in other if key not in one)]
    return {key: (one.get(key), other.get(key)) for key in keys if one.get(key) != other.get(key)}


def beside_page(model: str, one: TrainingRecord, other: TrainingRecord) -> str:
    """Draw two trainings side by side.

    Args:
        model: the model that both are versions of.
        one: shown first and on the left.
        other: what it is compared with.
    """
    loss, *others = (
        f"<h2>{title}</h2>{drawn}" for title, drawn in plots({one.name: one.curve, other.name: other.curve}).items()
    )
    body = f"{loss}<h2>Numbers</h2>{_numbers(one, other)}"
    mine, theirs = origin_rows(one.origin), origin_rows(other.origin)
    for record in (one, other):
        if not record.origin:
            body += f"<p class='wait'>{escape(record.name)} was made before settings and environment were kept.</p>"
    if mine and theirs:
        for title, rows in mine.items():
            body += f"<h2>{title}</h2>{_different(one.name, other.name, rows, theirs[title])}"
    body += "".join(others)
    lead = f"{one.name} beside {other.name}: what differs between their trainings"
    return page(f"{model}: two trainings", lead, body)


def _numbers(one: TrainingRecord, other: TrainingRecord) -> str:
    rows = []
    for key in [*one.numbers, *(key for key in other.numbers if key not in one.numbers)]:
        mine, theirs = one.numbers.get(key), other.numbers.get(key)
        if isinstance(mine, dict) or isinstance(theirs, dict) or (not mine and not theirs):
            continue
        change, colour = _change(key, mine, theirs)
        rows.append(
            f"<tr><td>{escape(key.replace('_', ' '))}</td><td class='number'>{escape(shown(mine))}</td>"
            f"<td class='number'>{escape(shown(theirs))}</td><td class='number {colour}'>{change}</td></tr>"
        )
    return _table(("", one.name, other.name, "difference"), rows, numbers=True)


def _change(key: str, mine: Any, theirs: Any) -> tuple[str, str]:
    """How much more one has than the other, and whether that is good."""
    both_numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (mine, theirs))
    if not both_numbers or mine == theirs:
        return "", ""
    more = mine - theirs
    better = (more < 0 and key in _LOWER_IS_BETTER) or (more > 0 and key in _HIGHER_IS_BETTER)
    judged = key in _LOWER_IS_BETTER or key in _HIGHER_IS_BETTER
    share = f" ({more / theirs:+.1%})" if theirs else ""
    sign = "+" if more > 0 else "-"
    return f"{sign}{shown(abs(more))}{share}", ("good" if better else "bad") if judged else ""


def _different(one: str, other: str, mine: dict[str, Any], theirs: dict[str, Any]) -> str:
    found = differences(mine, theirs)
    if not found:
        return f"<p class='good'>The same in both ({len(mine)} values).</p>"
    rows = [
        f"<tr><td><code>{escape(key)}</code></td><td class='wait'>{escape(shown(left))}</td>"
        f"<td class='wait'>{escape(shown(right))}</td></tr>"
        for key, (left, right) in found.items()
    ]
    same = len([key for key in mine if key not in found])
    note = f"<p class='lead'>{same} other values are the same in both.</p>" if same else ""
    return _table(("", one, other), rows) + note


def _table(header: tuple[str, ...], rows: list[str], *, numbers: bool = False) -> str:
    flush = " class='number'" if numbers else ""
    heads = "".join(f"<th{flush if place else ''}>{escape(name)}</th>" for place, name in enumerate(header))
    body = "".join(rows)
    return f"<div class='scroll'><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
