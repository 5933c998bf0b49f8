"""What is printed: a console for people on stdout, complaints on stderr."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from tuneline.errors import TunelineError

console = Console(highlight=False)
_errors = Console(stderr=True, highlight=False)


def say(line: str) -> None:
    """Print a line; rich markup is understood."""
    console.print(line, soft_wrap=True)


def complain_softly(line: str) -> None:
    """Print a warning beside the results: on stderr, so that JSON on stdout stands alone."""
    _errors.print(line, style="yellow", soft_wrap=True, markup=False)


def complain(error: TunelineError) -> None:
    """Print an error: what happened, then what to do. In a log there is no frame, which would break lines in a path."""
    if not _errors.is_terminal:
        print("\n".join(part for part in (f"Error: {error.what}", error.hint) if part), file=sys.stderr)
        return
    body = Text(error.what)
    if error.hint:
        body.append(f"\n\n{error.hint}", style="dim")
    _errors.print(Panel(body, title="Error", title_align="left", border_style="red"))
