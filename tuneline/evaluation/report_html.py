"""The evaluation report as a page: the verdict, the scores by suite, then by suite what changed (worst first)."""

from __future__ import annotations

from html import escape
from pathlib import Path

from tuneline.evaluation.page import changes, scoreboard, slices
from tuneline.evaluation.pairs import opponent_of
from tuneline.evaluation.report import EvaluationReport, SuiteReport, metric_label
from tuneline.gate import verdict_html
from tuneline.gate.verdict import Verdict
from tuneline.page import page

_STYLE = """<style>
h2{margin-top:34px;padding-top:12px;border-top:1px solid var(--line)}h3{font-size:15px;margin:18px 0 6px}
a{color:var(--accent);text-decoration:none}details{margin:8px 0}summary{cursor:pointer;color:var(--accent)}
.hint{color:var(--soft);font-size:13px;margin:12px 0 8px}
@media print{details::details-content{content-visibility:visible;block-size:auto}summary{display:none}}
</style>"""


def to_html(
    report: EvaluationReport, verdict: Verdict | None = None, *, title: str = "Evaluation", note: str = ""
) -> str:
    """Draw a report.

    Args:
        report: what was asked and answered.
        verdict: what the gate made of it, to stand on top.
        title: of the page.
        note: what the reader should know before anything else.
    """
    top = f'<p class="warning">{escape(note)}</p>' if note else ""
    if verdict is not None:
        top += verdict_html.headline(verdict) + verdict_html.evidence(verdict, folded=True)
    blocks = "".join(scoreboard.block(suite, f"suite-{place}") for place, suite in enumerate(report.suites))
    details = "".join(_suite(suite, f"suite-{place}") for place, suite in enumerate(report.suites))
    styles = verdict_html.STYLE + _STYLE + scoreboard.STYLE + changes.STYLE + slices.STYLE
    scores = f"<h2>Scores, points of 100 where no unit is named</h2>{_agreement(report)}{_as_measured(verdict)}{blocks}"
    body = styles + top + scores + details
    return page(title, _lead(report), body)


def _lead(report: EvaluationReport) -> str:
    decoding, questions = report.decoding, sum(len(suite.items) for suite in report.suites)
    quantized = f", {decoding.quantization}" if decoding.quantization else ""
    return (
        f"{questions:,} questions in {len(report.suites)} {'suite' if len(report.suites) == 1 else 'suites'} to "
        f"{_short(report.base_model)}, greedy answers of at most {decoding.max_new_tokens:,} tokens "
        f"by {report.engine}, {decoding.dtype}{quantized}"
    )


def _agreement(report: EvaluationReport) -> str:
    if report.agreement is None:
        return ""
    kind = "hint" if report.agreement.agrees else "warning"
    return f'<p class="{kind}">{escape(report.agreement.sentence)}.</p>'


def _as_measured(verdict: Verdict | None) -> str:
    """Why a mean here may be above the one in the verdict's sentence."""
    if verdict is None or not any(rule.truncated for rule in verdict.rules):
        return ""
    return (
        '<p class="hint">These are the scores as they were measured. The gate counted '
        "those of the candidate's answers that were cut off as wrong.</p>"
    )


def _suite(suite: SuiteReport, anchor: str) -> str:
    """What changed between the answers to a suite, and where."""
    opponent = opponent_of(suite)
    changed = changes.lists(suite, suite.primary, opponent) if opponent else ""
    name = f"{escape(suite.name)} <small>{escape(metric_label(suite.primary))}</small>"
    return f'<h2 id="{anchor}">{name}</h2>{slices.tables(suite, suite.primary)}{changed}'


def _short(base_model: str) -> str:
    """A hub id as it is, of a folder its name."""
    return Path(base_model).name if Path(base_model).is_absolute() else base_model
