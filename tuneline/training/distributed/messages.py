"""What a worker tells the process that started it: one JSON line for each moment, sentence and error."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tuneline.errors import TunelineError, UserError
from tuneline.training.durable.faults import LossFault
from tuneline.training.durable.interruption import Interrupted
from tuneline.training.durable.memory import OutOfMemory
from tuneline.training.progress import Progress

_ERRORS: dict[str, type[TunelineError]] = {
    kind.__name__: kind for kind in (UserError, Interrupted, LossFault, OutOfMemory, TunelineError)
}

Kind = Literal["progress", "say", "error"]


@dataclass(frozen=True)
class Message:
    """One line."""

    kind: Kind
    content: dict[str, Any]

    @classmethod
    def parse(cls, line: bytes) -> Message:
        """Read a line."""
        document = json.loads(line)
        return cls(document["kind"], document["content"])

    def progress(self) -> Progress:
        """The moment that it tells."""
        return Progress(**self.content)

    def error(self) -> TunelineError:
        """The error that it tells, of the kind that was raised."""
        kind = _ERRORS.get(self.content["type"], TunelineError)
        return kind(self.content["what"], hint=self.content["hint"])


class Reporter:
    """The worker's end of the pipe.

    Args:
        descriptor: where lines are written to.
    """

    def __init__(self, descriptor: int) -> None:
        self._pipe = os.fdopen(descriptor, "w", buffering=1)

    def progress(self, moment: Progress) -> None:
        """Tell a moment."""
        self._send("progress", asdict(moment))

    def say(self, line: str) -> None:
        """Tell a sentence."""
        self._send("say", {"line": line})

    def error(self, error: BaseException) -> None:
        """Tell why this process ends."""
        known = isinstance(error, TunelineError)
        what = error.what if isinstance(error, TunelineError) else f"{type(error).__name__}: {error}"
        hint = error.hint if isinstance(error, TunelineError) else ""
        self._send("error", {"type": type(error).__name__ if known else "other", "what": what, "hint": hint})

    def _send(self, kind: Kind, content: dict[str, Any]) -> None:
        self._pipe.write(json.dumps({"kind": kind, "content": content}) + "\n")
