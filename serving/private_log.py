"""A rotating file of lines that its owner alone may read: what was asked and answered is nobody else's."""

from __future__ import annotations

import logging
import os
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

logger = logging.getLogger(__name__)


class PrivateLog(RotatingFileHandler):
    """The file, made with the first line.

    Args:
        path: where it is.
        max_bytes: when the next one is begun.
        kept: how many earlier ones stay.
    """

    def __init__(self, path: Path, max_bytes: int, kept: int) -> None:
        super().__init__(path, maxBytes=max_bytes, backupCount=kept, encoding="utf-8", delay=True)

    def write(self, line: str) -> None:
        """Append a line. May be called in any thread."""
        self.handle(logging.makeLogRecord({"msg": line}))

    def _open(self) -> TextIOWrapper:
        fd = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.fchmod(fd, 0o600)
        # half a surrogate pair, which a model may well write, becomes the escape that JSON has for it
        return os.fdopen(fd, "a", encoding="utf-8", errors="backslashreplace")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """A full disk is told of in the gateway's log, which may be on another."""
        del record
        logger.exception("%s could not be written", self.baseFilename)
