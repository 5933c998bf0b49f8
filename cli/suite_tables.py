"""An evaluation report as tables: one per suite."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import fmean

from rich.markup import escape
from rich.table import Table

from tuneline.evaluation.page.scoreboard import heading
from tuneline.evaluation.pairs import PREFERENCE, scores
from tuneline.evaluation.report import EvaluationReport, Preferences, Role, SuiteReport
from tuneline.evaluation.scale import scale_of
from tuneline.gate.verdict import Comparison, Rule, Verdict

_COLOUR = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow"}


def suite_tables(report: EvaluationReport, verdict: Verdict | None = None) -> Iterator[Table]:
    """One row per subject: the mean of every metric, and how much better the candidate is where that was judged."""
    rules = {rule.suite: rule for rule in verdict.rules} if verdict is not None else {}
    for suite in report.suites:
        yield _table(suite, rules.get(suite.name))


def _table(suite: SuiteReport, rule: Rule | None) -> Table:
    judged = f", [{_COLOUR[rule.outcome]}]{rule.outcome}[/]" if rule is not None else ""
    title = f"{escape(suite.name)}, {suite.role}{judged}: {len(suite.items):,} questions"
    table = Table("", title=title, title_justify="left")
    metrics = [metric for metric in suite.metrics if metric != PREFERENCE]
    comparisons = rule.comparisons if rule is not None else ()
    columns = [*map(heading, metrics), "cut off"]
    columns += ["candidate won / lost"] if suite.preferences else []
    columns += ["candidate is better by"] if comparisons else []
    for column in columns:
        table.add_column(escape(column), justify="right")
    for subject in suite.subjects:
        cells = [_mean(suite, subject.role, metric) for metric in metrics]
        cells.append(f"{sum(not result.finished for result in subject.results):,}")
        if suite.preferences:
            cells.append(_preferred(suite.preferences_over(subject.role)))
        if comparisons:
            cells.append("".join(_difference(c, suite.primary) for c in comparisons if c.opponent == subject.role))
        table.add_row(escape(subject.label), *cells)
    return table


def _mean(suite: SuiteReport, role: Role, metric: str) -> str:
    found = scores(suite, role, metric)
    return scale_of(metric).value(fmean(found.values()) if found else None)


def _preferred(judged: Preferences | None) -> str:
    usable = [value for value in judged.values if math.isfinite(value)] if judged is not None else []
    if not usable:
        return ""
    return f"{fmean(value > 0 for value in usable):.0%} / {fmean(value < 0 for value in usable):.0%}"


def _difference(comparison: Comparison, metric: str) -> str:
    return f"[{_COLOUR[comparison.outcome]}]{scale_of(metric).difference(comparison.difference)}[/]"
