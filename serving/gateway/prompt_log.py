"""A share of the conversations in ``prompts.jsonl``, redacted, for those who have opted in (``prompt_log_share``).

Whether a conversation is taken is decided by a hash of its request id, so that every replica and every retry decides
alike; a client that chooses its request ids chooses this with them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import queue
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serving.gateway.outcome import Outcome, Question
from serving.gateway.redact import redact_values
from serving.gateway.routing import RouteTable
from serving.gateway.said import answers
from serving.gateway.schemas import ChatRequest
from serving.private_log import PrivateLog

logger = logging.getLogger(__name__)

_FILE_BYTES = 64 * 2**20
_FILES = 4  # beside the current one: 320 MiB in all
_WAITING = 1000  # conversations; a minute of a busy endpoint's sample, and a few MB
_STOP_SECONDS = 3.0


def sampled(request_id: str, share: float) -> bool:
    """Whether a share (0 to 1) of all requests includes this one; a larger share includes the smaller."""
    number = int.from_bytes(hashlib.sha256(request_id.encode()).digest()[:8])
    return number < share * 2**64


class PromptLog:
    """Writes conversations from a thread of its own: redacting a long one takes milliseconds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._share = 0.0
        self._waiting: queue.Queue[tuple[datetime, Question, Outcome] | None] = queue.Queue(_WAITING)
        self._thread: threading.Thread | None = None

    def follow(self, table: RouteTable | None) -> None:
        """Take the share that a release wants."""
        self._share = table.release.gateway.prompt_log_share if table is not None else 0.0

    def takes(self, question: Question) -> bool:
        """Whether the question is in the sample."""
        return sampled(question.request_id, self._share)

    def add(self, question: Question, outcome: Outcome) -> None:
        """Have a conversation of the sample written; an ``Observer``.

        Where more wait than can be, this one is left out, and that is logged.
        """
        if not (outcome.keep and self.takes(question)):
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="prompt log", daemon=True)
            self._thread.start()
        try:
            self._waiting.put_nowait((datetime.now(UTC), question, outcome))
        except queue.Full:
            logger.warning("request %s was left out of the prompt log: %d wait", question.request_id, _WAITING)

    def stop(self) -> None:
        """Write what waits, for at most three seconds. Blocks."""
        if self._thread is not None and self._thread.is_alive():
            try:
                self._waiting.put(None, timeout=_STOP_SECONDS)
            except queue.Full:
                logger.warning("the last conversations were not written to %s", self._path)
            self._thread.join(_STOP_SECONDS)

    def _write(self) -> None:
        file = PrivateLog(self._path, _FILE_BYTES, _FILES)
        while (item := self._waiting.get()) is not None:
            try:
                line = json.dumps(entry(*item), ensure_ascii=False)
            except Exception:  # whatever the engine said, the next conversation is to be written
                logger.exception("request %s could not be written to the prompt log", item[1].request_id)
                continue
            file.write(line)
        file.close()


def entry(time: datetime, question: Question, outcome: Outcome) -> dict[str, Any]:
    """One line: which version was asked what, and what it said, redacted."""
    request = question.request.model_dump(mode="json", exclude_unset=True)
    asked = "messages" if isinstance(question.request, ChatRequest) else "prompt"
    return {
        "time": time.isoformat(timespec="milliseconds"),
        "request_id": question.request_id,
        "key": question.key,
        "version": outcome.version,
        "role": outcome.role,
        "result": outcome.result,
        asked: redact_values(request[asked]),
        "answers": redact_values(answers(bytes(outcome.body))),
        "prompt_tokens": outcome.prompt_tokens,
        "completion_tokens": outcome.completion_tokens,
    }
