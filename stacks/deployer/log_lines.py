"""The gateway's log for people: its JSON lines as short text. What is no JSON, as the engine's log, stays as it is."""

from __future__ import annotations

import json

_FIRST = ("time", "level", "logger", "message", "exception")


def readable(line: str) -> str:
    """``2026-11-24 15:38:28 INFO message key=value …``, with a traceback on lines of its own.

    Fields without a value are left out, for most requests have several.
    """
    if not line.startswith("{"):
        return line
    try:
        fields = json.loads(line)
        time, level, message = (str(fields[name]) for name in ("time", "level", "message"))
    except (ValueError, KeyError):
        return line
    rest = [f"{name}={value}" for name, value in fields.items() if name not in _FIRST and value is not None]
    text = " ".join([time[:19].replace("T", " "), level, message, *rest])
    return f"{text}\n{fields['exception']}" if "exception" in fields else text
