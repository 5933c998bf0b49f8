"""What two versions said to one question: the texts out of the kept bytes, and the file of pairs."""

from __future__ import annotations

import io
import json
import logging
import os
from collections import defaultdict
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

_BYTES = 32 * 2**20  # about 80,000 pairs without texts
_KEPT = 3


def texts(body: bytes) -> list[str]:
    """The answers in a body of ``/v1/chat/completions`` or ``/v1/completions``, streamed or whole, by their index.

    A function call is part of its answer's text, as name and arguments. What was cut off counts as far as it came.
    """
    if not body.startswith(b"data: "):
        choices = json.loads(body)["choices"] if body else []
        return [_text(choice) for choice in choices]
    pieces: dict[int, list[str]] = defaultdict(list)
    for event in body.split(b"\n\n"):
        data = event.removeprefix(b"data: ")
        if data and data != b"[DONE]":
            for choice in json.loads(data).get("choices", ()):
                pieces[choice["index"]].append(_text(choice))
    return ["".join(pieces[index]) for index in sorted(pieces)]


def _text(choice: dict[str, Any]) -> str:
    message = choice.get("message") or choice.get("delta") or {"content": choice.get("text")}
    calls = (call.get("function") or {} for call in message.get("tool_calls") or ())
    called = "".join(f"{call.get('name') or ''}{call.get('arguments') or ''}" for call in calls)
    return (message.get("content") or "") + called


class PairLog(RotatingFileHandler):
    """A file of lines that its owner alone may read: 32 MiB, and the three before it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=_BYTES, backupCount=_KEPT, encoding="utf-8", delay=True)

    def write(self, line: str) -> None:
        """Append a line. May be called in any thread."""
        self.handle(logging.makeLogRecord({"msg": line}))

    def _open(self) -> io.TextIOWrapper:
        # half a surrogate pair, which a model may well write, becomes the escape that JSON has for it
        return open(self.baseFilename, "a", encoding="utf-8", errors="backslashreplace", opener=_for_its_owner)


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
