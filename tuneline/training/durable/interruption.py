"""SIGTERM and SIGINT while training: finish the step, save, end. A machine that is taken away gives half a minute."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from tuneline.errors import TunelineError

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(TunelineError):
    """Training was ended from outside. The same command goes on from its last checkpoint.

    Its exit code is the one of a process that the signal has ended: 130 for Ctrl-C, 143 for SIGTERM.
    """

    exit_code = 128 + signal.SIGTERM

    def by(self, name: str) -> Interrupted:
        """The same error, with the exit code of this signal."""
        self.exit_code = 128 + signal.Signals[name]
        return self


class Interruption:
    """Whether somebody asked for the end.

    Attributes:
        by: the signal's name, None while nobody did.
    """

    def __init__(self, tell: Callable[[], None] | None = None) -> None:
        self.by: str | None = None
        self._tell = tell

    def ask(self, by: str) -> None:
        """Ask for the end after this step."""
        self.by = by
        if self._tell is not None:
            self._tell()


@contextmanager
def interruption(tell: Callable[[], None] | None = None) -> Iterator[Interruption]:
    """Turn the first signal into a question and let the second one end the process as it would have without us.

    Outside the main thread, where no handler can be set, signals do what they did before.

    Args:
        tell: called in the handler with the first signal.
    """
    asked = Interruption(tell)
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def first(number: int, _frame: FrameType | None) -> None:
        restore()
        # Handlers of the caller come back for the second signal; those of the default action end the process.
        asked.ask(signal.Signals(number).name)

    def restore() -> None:
        for one, handler in before.items():
            signal.signal(one, handler)

    before = {one: signal.getsignal(one) or signal.SIG_DFL for one in _SIGNALS}
    for one in _SIGNALS:
        signal.signal(one, first)
    try:
        yield asked
    finally:
        restore()


def ended(by: str | None, step: int, steps: int, saved: int | None) -> Interrupted:
    """The error that ends an interrupted training.

    Args:
        by: the signal's name; None if another process of this training got it.
        step: the last that was done.
        steps: of the whole run.
        saved: the step of the last checkpoint that is complete.
    """
    kept = f"the checkpoint of step {saved} is saved" if saved is not None else "no checkpoint could be saved"
    error = Interrupted(
        f"training was ended by {by or 'a signal'} at step {step} of {steps}; {kept}",
        hint="The same command goes on from there." if saved is not None else "The same command begins again.",
    )
    return error if by is None else error.by(by)
