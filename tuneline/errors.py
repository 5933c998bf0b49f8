"""Errors that a user can act on. The command line prints them without a traceback and exits with their code."""

from __future__ import annotations


class TunelineError(Exception):
    """Something stopped, and the reader can do something about it.

    Attributes:
        what: what happened, with the value it happened to.
        hint: what to do next.
        exit_code: the process's exit code: 2 is the user's mistake, 1 anything else.
    """

    exit_code = 1

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(what if not hint else f"{what}\n{hint}")
        self.what = what
        self.hint = hint


class UserError(TunelineError):
    """The input is wrong: a key, a value, a file, an order of commands. Nothing has been changed."""

    exit_code = 2
