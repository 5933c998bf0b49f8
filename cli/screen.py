"""What is printed: a console for people on stdout, complaints on stderr."""

from __future__ import annotations

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from tuneline.errors import TunelineError

console = Console(highlight=False)
_errors = Console(stderr=True, highlight=False)


def say(line: str) -> None:
    """Print a line; rich markup is understood."""
    console.print(line, soft_wrap=True)


def complain(error: TunelineError) -> None:
    """Print an error: what happened, then what to do."""
    body = Text(error.what)
    if error.hint:
        body.append(f"\n\n{error.hint}", style="dim")
    _errors.print(Panel(body, title="Error", title_align="left", border_style="red"))
