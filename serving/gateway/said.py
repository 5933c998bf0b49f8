"""What a model said, out of an answer's kept bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


def answers(body: bytes) -> list[dict[str, str]]:
    """The answers in a body of ``/v1/chat/completions`` or ``/v1/completions``, streamed or whole, by their index.

    Returns:
        ``content`` of each, and ``tool_calls`` as names and arguments where there are any. What was cut off counts as
        far as it came.
    """
    found: dict[int, dict[str, str]] = {}
    for part in _events(body) if body.startswith(b"data: ") else [json.loads(body)] if body else []:
        for choice in part.get("choices", ()):
            said = choice.get("message") or choice.get("delta") or {"content": choice.get("text")}
            answer = found.setdefault(choice.get("index", 0), {"content": ""})
            answer["content"] += said.get("content") or ""
            if calls := said.get("tool_calls"):
                answer["tool_calls"] = answer.get("tool_calls", "") + "".join(map(_call, calls))
    return [found[index] for index in sorted(found)]


def texts(body: bytes) -> list[str]:
    """The answers as one text each."""
    return [answer["content"] + answer.get("tool_calls", "") for answer in answers(body)]


def _events(body: bytes) -> Iterator[dict[str, Any]]:
    for event in body.split(b"\n\n"):
        if event.startswith(b"data: {"):
            yield json.loads(event.removeprefix(b"data: "))


def _call(call: dict[str, Any]) -> str:
    function = call.get("function") or {}
    return f"{function.get('name') or ''}{function.get('arguments') or ''}"
