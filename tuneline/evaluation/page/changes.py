"""What changed between the answers: losses and gains, the worst losses first, all answers side by side."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from html import escape

from tuneline.config.metrics import metric_spec
from tuneline.evaluation.page.scoreboard import COLOUR
from tuneline.evaluation.pairs import PREFERENCE, gains
from tuneline.evaluation.report import Check, EvaluationItem, ItemResult, Role, SubjectResult, SuiteReport
from tuneline.evaluation.scale import Scale, scale_of

STYLE = """<style>
article{border:1px solid var(--line);border-radius:6px;padding:10px 14px;margin:10px 0;break-inside:avoid}
article header{color:var(--soft);font-size:13px;margin-bottom:6px;overflow-wrap:anywhere}
article header b{float:right;font-weight:600;margin-left:12px}
article .q{white-space:pre-wrap;margin:0 0 10px;overflow:auto;max-height:220px;overflow-wrap:anywhere}
.answers{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,250px),1fr));gap:10px 14px}
.answers div{border-top:3px solid var(--line);padding-top:4px;min-width:0}
.answers .wide{grid-column:1/-1;border-top:0;padding:0}
.answers h5{margin:0 0 3px;font-size:13px;font-weight:400;color:var(--soft)}.answers h5 b{float:right}
.answers pre{margin:0;max-height:260px;overflow:auto}
mark{color:inherit;background:color-mix(in srgb,var(--wait) 28%,transparent);border-radius:2px}
em.cut{font-style:normal;color:var(--bad);font-weight:600}
@media print{article .q,.answers pre{max-height:none}mark{print-color-adjust:exact}}
</style>"""
_SHOWN = 25  # items per list; the whole report is kept as JSON
_LONGEST = 3_000  # characters of a text: a page is for reading
_COMPARED = 400  # words of an answer that are compared with the right one: it takes their square
_ORDER: tuple[Role, ...] = ("champion", "candidate", "base")


def lists(suite: SuiteReport, metric: str, opponent: Role) -> str:
    """Losses against the opponent, gains, and what was and stays wrong."""
    gain = gains(suite, metric, opponent)
    rest = _other_gains(suite, metric, opponent)
    # Among equally large losses of this metric, the other metrics say which is the worst.
    worse = sorted((i for i in gain if gain[i] < 0), key=lambda i: (gain[i], rest.get(i, 0.0)))
    better = sorted((i for i in gain if gain[i] > 0), key=lambda i: (-gain[i], -rest.get(i, 0.0)))
    found = suite.subject(opponent)
    label = escape(found.label if found else opponent)
    page = _Answers(suite, metric, opponent, gain)
    return (
        page.list(worse, f"Worse than {label}", opened=True)
        + page.list(better, f"Better than {label}", opened=not worse)
        + page.list(_still_wrong(suite, metric, gain), "Unchanged and not right", opened=False)
    )


def _other_gains(suite: SuiteReport, metric: str, opponent: Role) -> dict[str, float]:
    total: dict[str, float] = {}
    for other in suite.metrics:
        if other != metric and metric_spec(other).unit == "points":
            for item, gain in gains(suite, other, opponent).items():
                total[item] = total.get(item, 0.0) + gain
    return total


def _still_wrong(suite: SuiteReport, metric: str, gain: dict[str, float]) -> list[str]:
    candidate = suite.subject("candidate")
    if metric == PREFERENCE or metric_spec(metric).unit != "points" or candidate is None:
        return []
    score = {result.id: result.scores[metric] for result in candidate.results if metric in result.scores}
    return sorted((item for item in gain if gain[item] == 0 and score[item] < 1), key=lambda item: score[item])


class _Answers:
    """A suite's answers by item."""

    def __init__(self, suite: SuiteReport, metric: str, opponent: Role, gain: dict[str, float]) -> None:
        self.metric = metric
        self.gain = gain
        self.scale: Scale = scale_of(metric)
        self.items = {item.id: item for item in suite.items}
        asked = [subject for role in _ORDER if (subject := suite.subject(role)) is not None]
        asked.sort(key=lambda subject: (subject.role != opponent, subject.role != "candidate"))
        self.subjects = [(subject, {result.id: result for result in subject.results}) for subject in asked]

    def list(self, items: Sequence[str], title: str, *, opened: bool) -> str:
        """The first items, folded or not."""
        if not items:
            return f"<h3>{title}: none</h3>"
        shown = "".join(self._item(self.items[item]) for item in items[:_SHOWN])
        more = f"<p>{len(items) - _SHOWN:,} more are in the report's JSON.</p>" if len(items) > _SHOWN else ""
        summary = f"<summary>show {min(len(items), _SHOWN)}</summary>"
        return f"<h3>{title}: {len(items):,}</h3><details{' open' if opened else ''}>{summary}{shown}{more}</details>"

    def _item(self, item: EvaluationItem) -> str:
        gain = self.gain[item.id]
        colour = "good" if gain > 0 else "bad" if gain < 0 else ""
        # Per item a relative metric has no share of a mean: its difference is in its own unit.
        shown = Scale(self.scale.unit, relative=False, higher_is_better=True).difference(gain)
        answers = "".join(
            self._answer(subject, by_item[item.id], item) for subject, by_item in self.subjects if item.id in by_item
        )
        reference = f'<div class="wide"><h5>right answer</h5>{_text(item.reference)}</div>' if item.reference else ""
        checks = "".join(f'<div class="wide"><h5>must fulfil</h5>{_text(_check(check))}</div>' for check in item.checks)
        return (
            f'<article><header><b class="{colour}">{escape(shown)}</b>{escape(item.source)} · {escape(item.id)}'
            "</header>"
            f'{_question(item)}<div class="answers">{reference}{checks}{answers}</div></article>'
        )

    def _answer(self, subject: SubjectResult, result: ItemResult, item: EvaluationItem) -> str:
        score = result.scores.get(self.metric)
        points = "" if score is None else f"<b>{escape(self.scale.value(score))}</b>"
        cut = "" if result.finished or result.error else ' · <em class="cut">cut off</em>'
        if result.error is not None:
            text = f'<pre><em class="cut">{escape(_shortened(result.error))}</em></pre>'
        elif not result.completion.strip():
            text = '<pre><em class="cut">(empty)</em></pre>'
        else:
            text = _text(result.completion, item.reference)
        heading = f"<h5>{points}{escape(subject.label)}{cut}</h5>"
        return f'<div style="border-color:{COLOUR[subject.role]}">{heading}{text}</div>'


def _question(item: EvaluationItem) -> str:
    turns = [f"{message.role}: {message.content}" for message in item.messages]
    text = item.messages[0].content if len(item.messages) == 1 else "\n".join(turns)
    return f'<p class="q" dir="auto">{escape(_shortened(text))}</p>'


def _check(check: Check) -> str:
    value = check.value if isinstance(check.value, str) else json.dumps(check.value, ensure_ascii=False)
    return f"{check.kind.replace('_', ' ')}: {value}"


def _text(text: str, reference: str = "") -> str:
    """A text as it is; what the right answer does not have is marked."""
    shown = _shortened(text)
    words, right = re.findall(r"\s+|\S+", shown), re.findall(r"\s+|\S+", reference)
    if not right or max(len(words), len(right)) > _COMPARED:
        return f'<pre dir="auto">{escape(shown)}</pre>'
    matcher = SequenceMatcher(None, right, words, autojunk=False)
    pieces = []
    for kind, _, _, start, end in matcher.get_opcodes():
        piece = escape("".join(words[start:end]))
        pieces.append(piece if kind == "equal" or not piece.strip() else f"<mark>{piece}</mark>")
    return f'<pre dir="auto">{"".join(pieces)}</pre>'


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\n… ({len(text) - _LONGEST:,} characters more)"
