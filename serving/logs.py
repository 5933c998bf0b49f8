"""The gateway's log: one JSON object a line, whoever wrote it, so that a log store needs no patterns to read it.

Considered were structlog, whose processors the standard library's loggers of uvicorn, BentoML and aiohttp would have to
be led through anyway, and python-json-logger, which does what the thirty lines below do. Prompts and answers are never
written here.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from types import TracebackType


class JsonLines(logging.Formatter):
    """A log record as one line: ``time`` (ISO 8601, UTC), ``level``, ``logger``, ``message``.

    What a caller gives as ``extra={"fields": {...}}`` stands beside these; an exception's traceback is ``exception``.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = "".join(traceback.format_exception(*record.exc_info)).rstrip()
        return json.dumps(line, default=str)


def write_json_lines() -> None:
    """Let everything that this process logs, warns of or dies of be written to stderr as JSON lines.

    BentoML gives handlers to its own loggers when it is imported, so call this before (for what fails there) and again
    after.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in list(logging.root.manager.loggerDict):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate, logger.disabled = True, False
    logging.captureWarnings(True)
    sys.excepthook = _log_what_ends_the_process


def _log_what_ends_the_process(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger(__name__).critical("the gateway ended: %s", error, exc_info=(kind, error, trace))
