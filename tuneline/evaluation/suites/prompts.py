"""Files of prompts: JSON Lines whose rows have a prompt and say what a right answer is.

    {"prompt": "Show all branches", "reference": "git branch --all"}
    {"prompt": "Print a pod as JSON", "contains": ["kubectl", "-o json"], "intent": "kubectl"}
    {"messages": [{"role": "user", "content": "6 * 7?"}], "checks": [{"number": 42, "tolerance": 0.5}]}

Such a file is written by hand, so everything that is wrong with it is told at once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tuneline.config.metrics import metric_spec
from tuneline.config.problem import nearest, shown
from tuneline.data.convert import NotConvertible, convert_row
from tuneline.data.files import read_text
from tuneline.data.records import ChatRecord, Message
from tuneline.data.split import prompt_key
from tuneline.errors import UserError
from tuneline.evaluation.report import EvaluationItem
from tuneline.evaluation.suites.checks import KINDS, read_checks

KEYS = (
    *("prompt", "messages", "system", "reference", "checks", "id", "source", "intent", "tools"),
    *KINDS,
    *("tolerance", "ignore_case"),
)
_TOLD = 10


def read_prompts(path: Path, metrics: Sequence[str], suite: str) -> tuple[EvaluationItem, ...]:
    """Read a file of prompts.

    Args:
        path: the file.
        metrics: what will be measured: a row must have what they need, a reference or a check.
        suite: the name of the suite; ids and, where a row names none, sources begin with it.

    Returns:
        One item per row, in the file's order.

    Raises:
        UserError: the file cannot be read or has no rows, or rows are wrong: up to ten are told with their lines.
    """
    try:
        text = read_text(path)
    except OSError as error:
        raise UserError(
            f"The prompts file {str(path)!r} of the suite {suite!r} cannot be read: {error.strerror or error}.",
            hint="Check the path in the config.",
        ) from error
    items: list[EvaluationItem] = []
    problems: list[str] = []
    ids: dict[str, int] = {}
    prompts: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            item = _item(_row(line), number, metrics, suite)
            _only_once(ids, item.id, number, f"the id {item.id!r}")
            _only_once(prompts, prompt_key(as_record(item)), number, "the prompt")
        except (ValueError, RecursionError) as error:
            problems.append(f"line {number}: {error or 'nested too deeply'}")
            continue
        items.append(item)
    if problems:
        more = f"\n  and {len(problems) - _TOLD} more" if len(problems) > _TOLD else ""
        count = "a row" if len(problems) == 1 else f"{len(problems)} rows"
        raise UserError(
            f"{path}: {count} of the suite {suite!r} cannot be used:\n  " + "\n  ".join(problems[:_TOLD]) + more,
            hint='A row is one JSON object, such as {"prompt": "…", "reference": "…"} or {"prompt": "…", '
            '"contains": "…"}.',
        )
    if not items:
        raise UserError(f"{path}: the suite {suite!r} has no prompts.", hint="Write at least one row.")
    return tuple(items)


def _only_once(seen: dict[str, int], key: str, line: int, what: str) -> None:
    first = seen.setdefault(key, line)
    if first != line:
        raise ValueError(f"{what} is that of line {first} again: take one of them out, or it would count twice")


def _row(line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"broken JSON at column {error.colno} ({error.msg})") from None
    if not isinstance(row, dict):
        raise ValueError(f"{shown(row)} is no object with keys")
    for key in row:
        if key not in KEYS:
            meant = nearest(key, KEYS)
            allowed = f"did you mean {meant}?" if meant else f"allowed are {', '.join(KEYS)}"
            raise ValueError(f"unknown key {key!r}; {allowed}")
    return row


def _item(row: dict[str, Any], line: int, metrics: Sequence[str], suite: str) -> EvaluationItem:
    for key in ("prompt", "system", "reference", "id", "source", "intent"):
        if row.get(key) is not None and not isinstance(row[key], str):
            raise ValueError(f"{key} is {shown(row[key])}, not a text")
    reference, checks = row.get("reference") or "", read_checks(row)
    for metric in metrics:
        if metric == "check" and not checks:
            raise ValueError(f"there is no check, which the metric check needs: add one of {', '.join(KINDS)}")
        if needs_reference(metric) and not reference.strip():
            raise ValueError(f"there is no reference, which the metric {metric} needs: add one, or measure check alone")
    if (row.get("prompt") is None) == (row.get("messages") is None):
        raise ValueError("it needs either prompt or messages")
    messages = row.get("messages")
    if messages is None:
        messages = [{"role": "user", "content": row["prompt"]}]
    elif not isinstance(messages, list) or not messages:
        raise ValueError(f"messages is {shown(messages)}, not a list of turns")
    elif isinstance(messages[-1], dict) and messages[-1].get("role") == "assistant":
        raise ValueError("messages ends with an answer, which belongs under reference")
    # A conversation as training data has it, so that the same rules hold; the answer in it is only there for them.
    whole = {**row, "messages": [*messages, {"role": "assistant", "content": "-"}]}
    try:
        converted = convert_row(whole, "messages")
    except NotConvertible as error:
        raise ValueError(str(error)) from None
    return EvaluationItem(
        id=row.get("id") or f"{suite}:{line}",
        source=row.get("source") or row.get("intent") or suite,
        messages=tuple(converted.messages[:-1]),
        reference=reference,
        checks=checks,
        tools=tuple(converted.tools) if converted.tools else None,
    )


def as_record(item: EvaluationItem) -> ChatRecord:
    """An item as a record, which is what can be compared with data."""
    return ChatRecord(
        id=item.id,
        source=item.source,
        messages=[*item.messages, Message(role="assistant", content=item.reference)],
        tools=list(item.tools) if item.tools else None,
    )


def needs_reference(metric: str) -> bool:
    """Whether a metric compares with a right answer; perplexity is that of the right answer."""
    return metric.endswith(".py") or metric_spec(metric).source in ("reference", "model")
