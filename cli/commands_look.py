"""The commands to look and ask: what each takes and what its help says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.options import ConfigOption, SetOption, StackOption

PANEL = "Look and ask"
commands = typer.Typer()


@commands.command(rich_help_panel=PANEL)
def ask(
    question: Annotated[str | None, typer.Argument(help="What to ask the endpoint.")] = None,
    version: Annotated[str | None, typer.Option(help="Who answers. Default: production.")] = None,
    key: Annotated[bool, typer.Option("--key", help="Print the API key alone and stop.")] = False,
    config: ConfigOption = None,
    stack: StackOption = None,
    set_: SetOption = None,
) -> None:
    """Ask the endpoint a question through the OpenAI client; the answer is streamed."""
    from cli.ask import run_ask

    run_ask(question, version, config, stack, set_ or [], key_only=key)


@commands.command(rich_help_panel=PANEL)
def models(
    version: Annotated[
        str | None, typer.Argument(help="Show all about this one: scores, data, who moved it when and why.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON alone.")] = False,
    config: ConfigOption = None,
    stack: StackOption = None,
    set_: SetOption = None,
) -> None:
    """Show all versions: stage, verdict, scores, share of traffic. With a version: its record and its history."""
    from cli.models import run_models

    run_models(version, config, stack, set_ or [], json_output=json_)


@commands.command(rich_help_panel=PANEL)
def report(
    version: Annotated[
        str | None, typer.Argument(help="Which version, as `models` lists it. Default: the newest.", show_default=False)
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="Compare with this version instead, on what both were asked."),
    ] = None,
    training: Annotated[
        bool, typer.Option("--training", help="How it was trained instead: curves, settings, data, environment.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write the page here. Default: reports/ in tuneline's home."
        ),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    config: ConfigOption = None,
    stack: StackOption = None,
    set_: SetOption = None,
) -> None:
    """Show what a version was asked, what it answered, and why the gate decided as it did.

    Writes one HTML page: the verdict, the differences with their intervals, the scores of every suite, the answers
    side by side with the worst regressions first, and where it got better or worse by source, length and first word.
    """
    from cli.report import run_report

    run_report(version, against, output, config, stack, set_ or [], open_=open_, training=training)


@commands.command(rich_help_panel=PANEL)
def ui(
    stack: StackOption = None,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> None:
    """Open the ZenML dashboard and MLflow on this machine, until Ctrl-C."""
    from cli.ui import run_ui

    run_ui(config, stack, set_ or [])


@commands.command(rich_help_panel=PANEL)
def card(
    version: Annotated[str | None, typer.Argument(help="The version. Default: the newest.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write it there instead of printing it.")
    ] = None,
    config: ConfigOption = None,
    stack: StackOption = None,
    set_: SetOption = None,
) -> None:
    """Show a version's model card as Markdown: data, licences, training, scores, limits."""
    from cli.card import run_card

    run_card(version, output, config, stack, set_ or [])


@commands.command(rich_help_panel=PANEL)
def export(
    version: Annotated[str, typer.Argument(help="The version, as `models` lists it.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write: missing, empty or an older export.")
    ],
    merged: Annotated[bool, typer.Option("--merged", help="The whole model with the adapter merged in.")] = False,
    config: ConfigOption = None,
    stack: StackOption = None,
    set_: SetOption = None,
) -> None:
    """Write a version as a folder that transformers, PEFT and vLLM load without tuneline.

    The adapter's files have the fingerprint that was released; a merged model gives the log-probabilities that the
    version had in its evaluation. Nothing is half-written, and the same export again changes nothing.
    """
    from cli.export import run_export

    run_export(version, output, config, stack, set_ or [], merged=merged)
