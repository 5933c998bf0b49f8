"""The data audit as a page: what is there, how long it is, what was left out, and what it reads like."""

from __future__ import annotations

from html import escape

from tuneline.data.audit import DataAudit, Lengths
from tuneline.data.dataset import ChatDataset
from tuneline.data.records import ChatRecord
from tuneline.page import page, table

_SAMPLES = 6
_SOURCES = 40
_QUARANTINED = 50
_BINS = 24


def audit_html(audit: DataAudit, dataset: ChatDataset) -> str:
    """Draw an audit with a few records of the data set and its quarantined rows."""
    lead = f"{audit.records:,} records, {audit.quarantined:,} rows in quarantine, fingerprint {audit.fingerprint[:12]}"
    body = _findings(audit) + _lengths(audit, dataset) + _sources(audit) + _samples(dataset) + _quarantine(dataset)
    return page("Data set", lead, body)


def _findings(audit: DataAudit) -> str:
    counts = {
        "rows left out": audit.quarantined,
        "exact copies of another record": audit.duplicates,
        "questions that occur with another answer": audit.repeated_prompts,
        "empty answers": audit.empty_answers,
        "unfilled {{blanks}}": audit.placeholders,
    }
    rows = "".join(
        f'<tr><td>{escape(what)}</td><td class="number {"wait" if count else "good"}">{count:,}</td></tr>'
        for what, count in counts.items()
    )
    return f"<h2>What to look at</h2><table><tbody>{rows}</tbody></table>"


def _lengths(audit: DataAudit, dataset: ChatDataset) -> str:
    named = [
        ("question, characters", audit.prompt_characters),
        ("answer, characters", audit.answer_characters),
        ("question, tokens", audit.prompt_tokens),
        ("answer, tokens", audit.answer_tokens),
    ]
    header = ["", "shortest", "median", "90 %", "99 %", "longest", "all together"]
    rows = [[name, *_row(lengths)] for name, lengths in named if lengths is not None]
    charts = [
        ("questions by length", [sum(len(m.content) for m in record.prompt) for record in dataset.records]),
        ("answers by length", [len(record.reference) for record in dataset.records]),
    ]
    drawn = "".join(f'<div style="flex:1;min-width:300px">{_histogram(name, sizes)}</div>' for name, sizes in charts)
    return (
        f"<h2>Lengths</h2>{table(header, rows, frozenset(range(1, 7)))}"
        f'<div style="display:flex;flex-wrap:wrap;gap:24px;margin-top:14px">{drawn}</div>'
    )


def _row(lengths: Lengths) -> list[str]:
    middle = [f"{value:,.0f}" for value in (lengths.median, lengths.p90, lengths.p99)]
    return [f"{lengths.minimum:,}", *middle, f"{lengths.maximum:,}", f"{lengths.total:,}"]


def _histogram(name: str, sizes: list[int]) -> str:
    """An inline SVG of counts per length, in characters."""
    if not sizes:
        return ""
    low, high = min(sizes), max(sizes)
    width = max(1, -(-(high - low + 1) // _BINS))
    counts = [0] * (-(-(high - low + 1) // width))
    for size in sizes:
        counts[(size - low) // width] += 1
    step = 480 / len(counts)
    bars = "".join(
        f'<rect x="{index * step:.1f}" y="{130 - 110 * count / max(counts):.1f}" width="{max(step - 1.5, 1):.1f}" '
        f'height="{110 * count / max(counts):.1f}" fill="var(--accent)"><title>{low + index * width:,} to '
        f"{low + (index + 1) * width - 1:,} characters: {count:,}</title></rect>"
        for index, count in enumerate(counts)
    )
    return (
        f'<svg viewBox="0 0 480 152" width="100%" role="img" aria-label="{escape(name)}">'
        f'<text x="0" y="12">{escape(name)}, at most {max(counts):,} in a bar</text>{bars}'
        f'<text x="0" y="147">{low:,}</text><text x="480" y="147" text-anchor="end">{high:,} characters</text></svg>'
    )


def _sources(audit: DataAudit) -> str:
    shown = list(audit.sources.items())[:_SOURCES]
    rows = [[source, f"{count:,}", f"{count / audit.records:.1%}"] for source, count in shown]
    more = f"<p>and {len(audit.sources) - _SOURCES} more</p>" if len(audit.sources) > _SOURCES else ""
    return f"<h2>Sources</h2>{table(['source', 'records', 'share'], rows, frozenset({1, 2}))}{more}"


def _samples(dataset: ChatDataset) -> str:
    records = dataset.records
    count = min(_SAMPLES, len(records))
    # Spread over the set and the same each time, so that two pages can be compared.
    chosen = [records[index * len(records) // count] for index in range(count)]
    rows = [[record.id, _prompt(record), record.reference] for record in chosen]
    return f"<h2>Some of it</h2>{table(['id', 'question', 'answer'], rows)}"


def _prompt(record: ChatRecord) -> str:
    if len(record.prompt) == 1:
        return record.prompt[0].content
    return "\n".join(f"{message.role}: {message.content}" for message in record.prompt)


def _quarantine(dataset: ChatDataset) -> str:
    if not dataset.quarantined:
        return "<h2>Quarantine: empty</h2>"
    rows = [
        [row.file, "" if row.line is None else str(row.line), row.reason, row.excerpt]
        for row in dataset.quarantined[:_QUARANTINED]
    ]
    rest = len(dataset.quarantined) - _QUARANTINED
    more = f"<p>and {rest:,} more in quarantine.jsonl</p>" if rest > 0 else ""
    header = ["file", "line", "reason", "begins with"]
    return f"<h2>Quarantine: {len(dataset.quarantined):,}</h2>{table(header, rows, frozenset({1}))}{more}"
