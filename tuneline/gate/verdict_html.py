"""The verdict as a page: the outcome, why, and where the differences lie."""

from __future__ import annotations

from html import escape

from tuneline.evaluation.report import metric_label
from tuneline.evaluation.scale import scale_of
from tuneline.gate import forest
from tuneline.gate.forest import CLASS, MARK, forest_plots, interval
from tuneline.gate.verdict import Comparison, Outcome, Rule, Verdict
from tuneline.page import page, table

STYLE = (
    forest.STYLE
    + """<style>
.verdict{border-left:6px solid;padding:4px 0 4px 18px;margin:0 0 20px}
.verdict .outcome{font-size:26px;font-weight:700;line-height:1.2;margin:0}
.verdict .outcome small{font-size:16px;font-weight:400;color:var(--soft);margin-left:10px}
.verdict p.why{color:var(--ink);margin:8px 0 0}.verdict p.why b{display:block;font-size:17px}
.numbers td,.numbers th{font-size:13px;padding:5px 7px}.numbers td{white-space:nowrap}
.numbers p{color:var(--soft);font-size:13px}.numbers td:first-child{white-space:normal;min-width:110px}
.warning{border:1px solid var(--wait);border-radius:6px;padding:8px 14px;margin:0 0 14px}
</style>"""
)
_MEANS: dict[Outcome, str] = {
    "PASS": "this version may move on",
    "FAIL": "this version stays where it is",
    "INCONCLUSIVE": "not known yet, so nothing moves",
}


def to_html(verdict: Verdict) -> str:
    """Draw a verdict: sentences, a forest plot of the differences, and the numbers behind it."""
    targets = sum(rule.role == "target" for rule in verdict.rules)
    guards = len(verdict.rules) - targets
    lead = (
        f"{_count(targets, 'target')} and {_count(guards, 'guard')}, {verdict.confidence:.0%} confidence"
        if verdict.rules
        else "nothing could be compared"
    )
    return page(f"Verdict: {verdict.outcome}", lead, STYLE + headline(verdict) + evidence(verdict))


def headline(verdict: Verdict) -> str:
    """What was decided and why, in words, with what else should be known."""
    colour = CLASS[verdict.outcome]
    first, dot, rest = verdict.sentence.partition(". ")
    warnings = "".join(f'<p class="warning"><b class="wait">!</b> {escape(text)}</p>' for text in verdict.warnings)
    return (
        f'<div class="verdict" style="border-color:var(--{colour})"><p class="outcome {colour}">'
        f"{MARK[verdict.outcome]} {verdict.outcome} <small>{_MEANS[verdict.outcome]}</small></p>"
        f'<p class="why"><b>{escape(first + dot.strip())}</b> {escape(rest)}</p></div>{warnings}'
    )


def evidence(verdict: Verdict, *, folded: bool = False) -> str:
    """The forest plot, the numbers behind it, and how they became a verdict."""
    plots = f"<h2>What was asked, and what was found</h2>{forest_plots(verdict.rules)}" if verdict.rules else ""
    numbers = _numbers(verdict.rules) if any(rule.comparisons for rule in verdict.rules) else ""
    decided = f"<h2>How this was decided</h2><p>{escape(_in_words(verdict))}</p>"
    if folded:
        return f"{plots}<details><summary>the numbers, and how this was decided</summary>{numbers}{decided}</details>"
    return plots + (f"<h2>The numbers</h2>{numbers}" if numbers else "") + decided


def _numbers(rules: tuple[Rule, ...]) -> str:
    levels = {rule.confidence for rule in rules if rule.comparisons}
    level = f"{_percent(levels.pop())} " if len(levels) == 1 else ""
    header = ["suite", "against", "candidate", "opponent", "better by", f"{level}interval"]
    header += ["wins", "losses", "ties", "p", "adjusted p", "provable", "needed"]
    rows = [_row(rule, comparison, with_level=not level) for rule in rules for comparison in rule.comparisons]
    note = (
        "Differences are turned so that plus is better. “Provable” is the smallest difference beyond what was asked "
        "for that so many questions would prove, “needed” how many questions would settle the difference as it is."
    )
    return f'<div class="numbers">{table(header, rows, frozenset(range(2, len(header))))}<p>{note}</p></div>'


def _row(rule: Rule, c: Comparison, *, with_level: bool) -> list[str]:
    scale = scale_of(rule.metric)
    return [
        f"{rule.suite}, {metric_label(rule.metric)}",
        c.opponent if c.opponent_version is None else f"{c.opponent} ({c.opponent_version})",
        scale.value(c.candidate_mean),
        scale.value(c.opponent_mean),
        scale.difference(c.difference),
        interval(c, scale) + (f" ({_percent(rule.confidence)})" if with_level else ""),
        f"{c.wins:,}",
        f"{c.losses:,}",
        f"{c.ties:,}",
        _probability(c.p_value),
        _probability(rule.adjusted_p),
        scale.difference(c.detectable).lstrip("+"),
        "" if c.needed_items is None else f"{c.needed_items:,}",
    ]


def _in_words(verdict: Verdict) -> str:
    wanted = "all targets" if verdict.targets == "all" else "at least one target"
    clustered = any(c.clusters < c.items for rule in verdict.rules for c in rule.comparisons)
    together = " Questions of one source are alike and were drawn together." if clustered else ""
    several = sum(rule.role == "target" for rule in verdict.rules) > 1
    holm = (
        " Several targets are several chances to be lucky: their p-values are adjusted by Holm's method, and the "
        "intervals that decide are wider accordingly."
        if several
        else ""
    )
    return (
        f"Every question was put to all models and the differences were resampled {verdict.resamples:,} times (BCa "
        f"bootstrap, seed {verdict.seed}).{together} A target passes if its whole interval lies above what was asked "
        "for and the split of better and worse answers is not a matter of luck; a guard passes if its whole interval "
        "lies above the loss that is allowed and such a loss would have shown on so many questions. "
        "Either fails if its interval lies at or below that, if a target changed "
        f"nothing or did worse, or if the evaluation is broken. Otherwise, and with fewer than {verdict.min_items} "
        f"questions, it is undecided.{holm} The candidate passes if {wanted} and every guard pass. The smallest "
        f"provable difference and the number of questions needed are computed for a power of {verdict.power:.0%}. "
        "Only PASS moves a version on."
    )


def _probability(p: float) -> str:
    return "<0.0001" if p < 0.0001 else f"{p:.2g}"


def _percent(confidence: float) -> str:
    return f"{100 * confidence:.4g}%"


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
