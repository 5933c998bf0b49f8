"""The evaluation report as a page: scoreboard, what changed between the answers (worst first), means by source."""

from __future__ import annotations

from html import escape

from tuneline.evaluation.report import (
    EvaluationItem,
    EvaluationReport,
    ItemResult,
    Role,
    SubjectResult,
    metric_label,
)
from tuneline.page import page, table

_COLOUR: dict[Role, str] = {"base": "var(--soft)", "champion": "var(--accent)", "candidate": "var(--good)"}
_SHOWN = 25  # items per list; the whole report is kept as JSON
_SOURCES = 18  # the weakest; the others can be unfolded
_STYLE = """<style>
.bar{display:flex;align-items:center;gap:8px;margin:2px 0}
.bar i{display:block;height:11px;border-radius:2px;min-width:1px}
.bar b{font-weight:400;font-variant-numeric:tabular-nums;color:var(--soft);font-size:13px}
.track{flex:1;background:color-mix(in srgb,var(--line) 45%,transparent);border-radius:2px}
.sources{display:grid;grid-template-columns:repeat(auto-fill,minmax(300px,1fr));gap:14px 28px}
.sources h3{font-size:13px;margin:0 0 3px;font-weight:600;overflow-wrap:anywhere}
.sources span{color:var(--soft);font-weight:400}
.key i{display:inline-block;width:11px;height:11px;border-radius:2px;margin:0 5px 0 14px;vertical-align:-1px}
article{border:1px solid var(--line);border-radius:6px;padding:10px 14px;margin:10px 0}
article header{color:var(--soft);font-size:13px;margin-bottom:6px}
article .q{white-space:pre-wrap;margin:0 0 8px;overflow-wrap:anywhere}
.answers{display:grid;grid-template-columns:110px 1fr auto;gap:4px 12px}.answers span{color:var(--soft);font-size:13px}
.answers pre{margin:0}.answers em{font-style:normal;font-variant-numeric:tabular-nums;font-size:13px;color:var(--soft)}
details{margin:8px 0}summary{cursor:pointer;color:var(--accent)}mark{background:none;color:var(--bad);font-weight:600}
</style>"""


def to_html(report: EvaluationReport) -> str:
    """Draw a report: means, means per source, regressions and improvements side by side."""
    candidate = report.subject("candidate")
    against = report.subject("champion") or report.subject("base")
    decoding = report.decoding
    lead = (
        f"{len(report.items)} questions to {report.base_model}, greedy answers of at most {decoding.max_new_tokens} "
        f"tokens, {decoding.dtype}{', ' + decoding.quantization if decoding.quantization else ''}"
    )
    body = _STYLE + _scoreboard(report)
    if candidate is not None and against is not None:
        body += _changes(report, candidate, against)
    return page("Evaluation", lead, body + _sources(report))


def _scoreboard(report: EvaluationReport) -> str:
    header = ["", *(metric_label(metric) for metric in report.metrics)]
    header += ["answers cut off", "tokens per answer", "answers per second"]
    means = report.means()
    rows = []
    for subject in report.subjects:
        count = len(subject.results)
        tokens = sum(result.completion_tokens for result in subject.results)
        rows.append(
            [
                subject.label,
                *(f"{100 * means[subject.role][metric]:.1f}" for metric in report.metrics),
                str(sum(not result.finished for result in subject.results)),
                f"{tokens / count:.1f}" if count else "",
                f"{count / subject.seconds:.1f}" if subject.seconds else "",
            ]
        )
    bars = "".join(_bar(subject, means[subject.role][report.primary], wide=True) for subject in report.subjects)
    name = escape(metric_label(report.primary))
    return (
        f"<h2>Scoreboard, points of 100</h2>{table(header, rows, frozenset(range(1, len(header))))}"
        f"<h2>{name[:1].upper() + name[1:]}</h2>{_key(report)}{bars}"
    )


def _sources(report: EvaluationReport) -> str:
    rows = report.by_source(report.primary)
    if len(rows) < 2:
        return ""
    # Where the candidate does badly comes first.
    rows.sort(key=lambda row: (row.means.get("candidate", 0.0), row.source))
    cells = [
        f"<div><h3>{escape(row.source)} <span>{row.items} questions</span></h3>"
        + "".join(_bar(subject, row.means[subject.role]) for subject in report.subjects)
        + "</div>"
        for row in rows
    ]
    shown, rest = "".join(cells[:_SOURCES]), "".join(cells[_SOURCES:])
    summary = f"<summary>show the other {len(cells) - _SOURCES}</summary>"
    name = escape(metric_label(report.primary))
    return f'<h2>By source, {name}, weakest first</h2>{_key(report)}<div class="sources">{shown}</div>' + (
        f'<details>{summary}<div class="sources">{rest}</div></details>' if rest else ""
    )


def _bar(subject: SubjectResult, value: float, *, wide: bool = False) -> str:
    height = ";height:18px" if wide else ""
    return (
        f'<div class="bar" title="{escape(subject.label)}"><div class="track">'
        f'<i style="width:{100 * value:.1f}%;background:{_COLOUR[subject.role]}{height}"></i></div>'
        f"<b>{100 * value:.1f}</b></div>"
    )


def _key(report: EvaluationReport) -> str:
    entries = "".join(f'<i style="background:{_COLOUR[s.role]}"></i>{escape(s.label)}' for s in report.subjects)
    return f'<p class="key">{entries}</p>'


def _changes(report: EvaluationReport, candidate: SubjectResult, against: SubjectResult) -> str:
    metric = report.primary
    places = range(len(report.items))
    gains = {place: candidate.results[place].scores[metric] - against.results[place].scores[metric] for place in places}
    # Among equally large losses of the leading metric, the other metrics say which is the worst.
    others = {
        place: sum(candidate.results[place].scores.values()) - sum(against.results[place].scores.values())
        for place in places
    }
    worse = sorted((place for place in places if gains[place] < 0), key=lambda place: (gains[place], others[place]))
    better = sorted((place for place in places if gains[place] > 0), key=lambda place: (-gains[place], -others[place]))
    wrong = [place for place in places if gains[place] == 0 and candidate.results[place].scores[metric] < 1]
    wrong.sort(key=lambda place: (candidate.results[place].scores[metric], others[place]))
    opponent = escape(against.label)
    return (
        _list(report, worse, f"Worse than {opponent}", opened=True)
        + _list(report, better, f"Better than {opponent}", opened=not worse)
        + _list(report, wrong, "Unchanged and not right", opened=False)
    )


def _list(report: EvaluationReport, places: list[int], title: str, *, opened: bool) -> str:
    if not places:
        return f"<h2>{title}: none</h2>"
    shown = "".join(_item(report, place) for place in places[:_SHOWN])
    more = f"<p>{len(places) - _SHOWN} more are in the report's JSON.</p>" if len(places) > _SHOWN else ""
    summary = f"<summary>show {min(len(places), _SHOWN)}</summary>"
    return f"<h2>{title}: {len(places)}</h2><details{' open' if opened else ''}>{summary}{shown}{more}</details>"


def _item(report: EvaluationReport, place: int) -> str:
    item = report.items[place]
    answers = "".join(_answer(subject, subject.results[place], report.primary) for subject in report.subjects)
    return (
        f"<article><header>{escape(item.source)} · {escape(item.id)}</header>{_question(item)}"
        f'<div class="answers"><span>right answer</span><pre>{escape(item.reference)}</pre><em></em>'
        f"{answers}</div></article>"
    )


def _question(item: EvaluationItem) -> str:
    turns = [f"{message.role}: {message.content}" for message in item.messages]
    text = item.messages[0].content if len(item.messages) == 1 else "\n".join(turns)
    return f'<p class="q">{escape(text)}</p>'


def _answer(subject: SubjectResult, result: ItemResult, metric: str) -> str:
    cut = "" if result.finished else " <mark>cut off</mark>"
    text = escape(result.completion) if result.completion.strip() else "<mark>(empty)</mark>"
    return f"<span>{escape(subject.label)}</span><pre>{text}</pre><em>{100 * result.scores[metric]:.0f}{cut}</em>"
