"""Tables of a suite's slices: where the candidate is better, where it is worse."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from tuneline.evaluation.pairs import PREFERENCE
from tuneline.evaluation.report import Role, SuiteReport
from tuneline.evaluation.scale import Scale, scale_of
from tuneline.evaluation.slices import Kind, Slice, slices

STYLE = """<style>
.slices{columns:2 400px;column-gap:24px}.slices>div{break-inside:avoid;padding-bottom:14px}
.slices h4{margin:0 0 2px;font-size:14px}.slices td,.slices th{padding:3px 4px;font-size:12.5px}
.slices td:first-child{overflow-wrap:break-word;min-width:96px;width:30%}.slices .number{white-space:nowrap}
</style>"""
_TITLE: dict[Kind, str] = {
    "source": "By source, worst first",
    "length": "By length of the question",
    "intent": "By first word, worst first",
}
# The columns that matter most stand first: on a telephone the others are beyond the edge.
_ROLES: tuple[Role, ...] = ("candidate", "champion", "base")
_SHOWN, _UNFOLDED = 18, 200  # rows of a table; the whole report is kept as JSON


def tables(suite: SuiteReport, metric: str) -> str:
    """A table for each way of slicing that makes more than one slice."""
    found = slices(suite, metric)
    kinds = [(kind, [part for part in found if part.kind == kind]) for kind in _TITLE]
    drawn = "".join(_table(kind, parts, metric) for kind, parts in kinds if len(parts) > 1)
    if not drawn:
        return ""
    return (
        f'<p class="hint">Slices decide nothing: of many, some look bad by luck.</p><div class="slices">{drawn}</div>'
    )


def _table(kind: Kind, parts: Sequence[Slice], metric: str) -> str:
    scale = scale_of(metric)
    roles: list[Role] = [role for role in _ROLES if any(role in part.means for part in parts)]
    verb = " won, %" if metric == PREFERENCE else ""
    header = ["", "better by", *(f"{role}{verb}" for role in roles), "questions"]
    head = "".join(f'<th class="number">{escape(name)}</th>' if name else "<th></th>" for name in header)
    rows = [_row(part, roles, scale) for part in parts]

    def whole(some: Sequence[str]) -> str:
        body = "".join(some)
        return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'

    rest = ""
    if len(rows) > _SHOWN:
        hidden = len(rows) - _UNFOLDED
        more = f"<p>{hidden:,} more are in the report's JSON.</p>" if hidden > 0 else ""
        rest = f"<details><summary>the next {min(len(rows), _UNFOLDED) - _SHOWN}</summary>"
        rest += f"{whole(rows[_SHOWN:_UNFOLDED])}{more}</details>"
    return f"<div><h4>{_TITLE[kind]}</h4>{whole(rows[:_SHOWN])}{rest}</div>"


def _row(part: Slice, roles: Sequence[Role], scale: Scale) -> str:
    sign = part.difference or 0.0
    colour = " good" if sign > 0 else " bad" if sign < 0 else ""
    means = "".join(f'<td class="number">{scale.value(part.means.get(role))}</td>' for role in roles)
    return (
        f'<tr><td>{escape(part.name)}</td><td class="number{colour}">{escape(scale.difference(part.difference))}</td>'
        f'{means}<td class="number">{part.items:,}</td></tr>'
    )
