"""``run.py stack``: where a run happens."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from cli.screen import console, say
from cli.workplace import quiet

stack_app = typer.Typer(
    help="Where a run happens: list stacks, apply a stack file. `--stack NAME` chooses one for a single command.",
    no_args_is_help=True,
)


@stack_app.command("list")
def list_(json_: Annotated[bool, typer.Option("--json", help="Print JSON alone.")] = False) -> None:
    """Show the registered stacks and the stack files that can be applied."""
    quiet()
    from stacks.apply import list_stacks

    stacks = list_stacks()
    if json_:
        print(json.dumps([asdict(stack) for stack in stacks], indent=2))
        return
    table = Table(title="Stacks", title_justify="left")
    for column in ("name", "", "file", "components"):
        table.add_column(column)
    for stack in stacks:
        state = "active" if stack.active else "registered" if stack.registered else "not applied"
        parts = "\n".join(f"{kind}: {component}" for kind, component in stack.components.items())
        table.add_row(stack.name, state, stack.file or "", parts)
    console.print(table)
    say("Next: [bold]python run.py stack apply FILE[/bold], then [bold]--stack NAME[/bold] or `zenml stack set NAME`.")


@stack_app.command()
def apply(
    file: Annotated[str, typer.Argument(help="A stack file, or the short name of one in stacks/ (local).")],
) -> None:
    """Make ZenML's stack and components what a file says; twice changes nothing."""
    quiet()
    from stacks.apply import apply_stack

    applied = apply_stack(file)
    for change in applied.changes:
        say(f"{change.outcome:>9}  {change.kind} {change.name}")
    say(f"Next: [bold]python run.py --stack {applied.stack}[/bold]")
