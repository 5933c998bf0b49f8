"""One block per suite: who scored what, how long the answers are, what the judge preferred."""

from __future__ import annotations

import math
from html import escape
from statistics import fmean

from tuneline.evaluation.pairs import PREFERENCE, scores
from tuneline.evaluation.report import Preferences, SubjectResult, SuiteReport, metric_label
from tuneline.evaluation.scale import scale_of

STYLE = """<style>
.suite{border:1px solid var(--line);border-radius:8px;padding:10px 16px 14px;margin:0 0 14px;break-inside:avoid}
.suite h3{font-size:15px;margin:0 0 6px}.suite h3 small,.tag{font-weight:400;color:var(--soft);font-size:13px}
.suite p{margin:4px 0;font-size:13px;color:var(--soft)}.suite td{white-space:nowrap}.suite th{vertical-align:bottom}
.suite table{width:auto;min-width:55%}.suite tr:last-child td{border-bottom:0}.suite tr.candidate td{font-weight:600}
.tag{border:1px solid var(--line);border-radius:9px;padding:1px 8px;margin:0 6px;display:inline-block}
.meter{display:inline-block;width:90px;height:10px;margin-left:10px;border-radius:2px;background:var(--line)}
.meter i{display:block;height:100%;border-radius:2px}.meter,.meter i,.shares i{print-color-adjust:exact}
.shares{display:flex;height:12px;border-radius:3px;overflow:hidden;margin:4px 0 8px;max-width:620px}
</style>"""
COLOUR = {"base": "var(--soft)", "champion": "var(--accent)", "candidate": "var(--good)"}
_ROLE = {"target": "target: must improve", "guard": "guard: must not get worse", "report": "shown only"}


def block(suite: SuiteReport, anchor: str) -> str:
    """A suite's scores, with a link to its answers."""
    note = f"<p>{escape(suite.note)}</p>" if suite.note else ""
    judged = "".join(_shares(suite, preferences) for preferences in suite.preferences)
    return (
        f'<div class="suite"><h3><a href="#{anchor}">{escape(suite.name)}</a>'
        f'<span class="tag">{_ROLE[suite.role]}</span>'
        f"<small>{len(suite.items):,} questions</small></h3>{note}{judged}{_table(suite)}</div>"
    )


def heading(metric: str) -> str:
    """A metric's name with its unit, and the way that is better where it is not up."""
    scale = scale_of(metric)
    unit = "" if scale.unit == "points" else f", {scale.unit}"
    return f"{metric_label(metric)}{unit}{'' if scale.higher_is_better else ' (lower is better)'}"


def _table(suite: SuiteReport) -> str:
    metrics = [metric for metric in (suite.primary, *suite.metrics) if metric != PREFERENCE]
    metrics = list(dict.fromkeys(metrics))  # the one that decides comes first
    answered = [subject for subject in suite.subjects if subject.results]
    if not answered or not (metrics or any(result.completion_tokens for s in answered for result in s.results)):
        return ""
    failed = any(result.error for subject in answered for result in subject.results)
    header = [*map(heading, metrics), "cut off", "tokens per answer", *(["no answer"] if failed else [])]
    head = "".join(f'<th class="number">{escape(name)}</th>' for name in header)
    rows = "".join(_row(suite, subject, metrics, failed=failed) for subject in answered)
    return f'<div class="scroll"><table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _row(suite: SuiteReport, subject: SubjectResult, metrics: list[str], *, failed: bool) -> str:
    cells = [_cell(suite, subject, metric) for metric in metrics]
    tokens = fmean(result.completion_tokens for result in subject.results)
    cells += [f"{sum(not result.finished for result in subject.results):,}", f"{tokens:.1f}" if tokens else "—"]
    if failed:
        cells.append(f"{sum(result.error is not None for result in subject.results):,}")
    numbers = "".join(f'<td class="number">{cell}</td>' for cell in cells)
    return f'<tr class="{subject.role}"><td>{escape(subject.label)}</td>{numbers}</tr>'


def _cell(suite: SuiteReport, subject: SubjectResult, metric: str) -> str:
    found = scores(suite, subject.role, metric)
    mean = fmean(found.values()) if found else None
    missing = len(suite.items) - len(found)
    text = scale_of(metric).value(mean) + (f" ({missing:,} without a score)" if missing and found else "")
    if metric != suite.primary or mean is None or scale_of(metric).unit != "points":
        return text
    width = f"{100 * min(max(mean, 0.0), 1.0):.1f}"
    bar = f'<i style="width:{width}%;background:{COLOUR[subject.role]}"></i>'
    return f'{text}<span class="meter">{bar}</span>'


def _shares(suite: SuiteReport, judged: Preferences) -> str:
    """What the judge preferred, as one bar."""
    usable = [value for value in judged.values if math.isfinite(value)]
    if not usable:
        return "<p>The judge gave no usable answer.</p>"
    won, lost = (sum(sign * value > 0 for value in usable) / len(usable) for sign in (1, -1))
    shares = {"good": won, "line": 1 - won - lost, "bad": lost}
    opponent = suite.subject(judged.opponent)
    missing = len(judged.values) - len(usable)
    unusable = f" No usable answer on {missing:,} of {len(judged.values):,} questions." if missing else ""
    bar = "".join(f'<i style="width:{100 * share:.1f}%;background:var(--{c})"></i>' for c, share in shares.items())
    return (
        f"<p>Judged beside {escape(opponent.label if opponent else judged.opponent)}: won {won:.0%}, tied "
        f"{1 - won - lost:.0%}, lost {lost:.0%}. In both orders the judge said the same of {judged.agreement:.0%} of "
        f'the pairs.{unusable}</p><div class="shares">{bar}</div>'
    )
