"""The commands of ``python run.py`` and how their errors end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.options import ConfigOption, NoCacheOption, SetOption, StackOption
from cli.screen import complain
from cli.stack import stack_app
from cli.workplace import quiet
from cli.zenml_errors import explained
from tuneline.errors import TunelineError

INTERRUPTED = 130  # what typer makes of Ctrl-C
EPILOG = (
    "Exit codes: 0 done, 2 your input is wrong (nothing was changed), 3 the gate did not pass, 1 anything else.\n\n"
    "First time here? [bold]python run.py[/bold] does everything once with configs/tiny.yaml."
)

app = typer.Typer(
    help="Fine-tune an open LLM on your data, prove that it is better, and keep it in production.\n\n"
    "Without a command: train, evaluate, gate, stage, release and ask one question.",
    epilog=EPILOG,
    rich_markup_mode="rich",
    no_args_is_help=False,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def root(
    context: typer.Context,
    config: ConfigOption = None,
    stack: StackOption = None,
    set_: SetOption = None,
    no_cache: NoCacheOption = False,
) -> None:
    """Run the main job unless a command was given."""
    if context.invoked_subcommand is not None:
        if config or stack or set_ or no_cache:
            raise typer.BadParameter(
                f"options go behind the command: python run.py {context.invoked_subcommand} --config … --set …"
            )
        return
    from cli.main_job import run_main_job

    run_main_job(config, stack, set_ or [], no_cache=no_cache)


@app.command(rich_help_panel="From data to production")
def train(
    config: ConfigOption = None,
    stack: StackOption = None,
    set_: SetOption = None,
    no_cache: NoCacheOption = False,
) -> None:
    """Train a candidate, evaluate it, let the gate decide; a PASS goes to staging.

    Finds its own earlier work: the same config, data and code are not trained twice.
    """
    from cli.train import run_train

    run_train(config, stack, set_ or [], no_cache=no_cache)


@app.command(rich_help_panel="From data to production")
def deploy(
    config: ConfigOption = None,
    stack: StackOption = None,
    set_: SetOption = None,
    no_cache: NoCacheOption = False,
) -> None:
    """Release the staged version: load it beside production, prove it, then give it the traffic.

    With nothing staged, makes sure that the version in production is up and answering; --no-cache proves it again.
    """
    from cli.deploy import run_deploy

    run_deploy(config, stack, set_ or [], no_cache=no_cache)


@app.command(rich_help_panel="From data to production")
def promote(
    version: Annotated[str, typer.Argument(help="The version that is to answer, as `models` lists it.")],
    reason: Annotated[
        str | None,
        typer.Option(
            help="Why; it is written into the release and the version's history. Required where the config says "
            "gate.approval: by_hand.",
            show_default=False,
        ),
    ] = None,
    override: Annotated[
        str | None,
        typer.Option(
            help="Why a version that did not pass the gate gets the traffic all the same. Shown with it for ever.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
    stack: StackOption = None,
    set_: SetOption = None,
) -> None:
    """Put a version into production: proof, stage and traffic together.

    One that passed the gate goes with a --reason, one that did not only with an --override; parity is proven for both.
    Of two who promote at once one wins, the other is told and has changed nothing.
    """
    from cli.promote import run_promote

    run_promote(version, reason, override, config, stack, set_ or [])


@app.command(rich_help_panel="From data to production")
def rollback(
    to: Annotated[str | None, typer.Option(help="Any earlier version. Default: the one before.")] = None,
    reason: Annotated[
        str, typer.Option(help="Why; it is written into the release and the version's history.")
    ] = "rolled back by hand",
    config: ConfigOption = None,
    stack: StackOption = None,
    set_: SetOption = None,
) -> None:
    """Send traffic and the production stage back to a version that had them before, within a second."""
    from cli.promote import run_rollback

    run_rollback(to, reason, config, stack, set_ or [])


@app.command(rich_help_panel="Look and ask")
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


@app.command(rich_help_panel="Look and ask")
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


@app.command(rich_help_panel="Look and ask")
def report(
    version: Annotated[
        str | None, typer.Argument(help="Which version, as `models` lists it. Default: the newest.", show_default=False)
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="Compare with this version instead, on what both were asked."),
    ] = None,
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

    run_report(version, against, output, config, stack, set_ or [], open_=open_)


@app.command(rich_help_panel="Look and ask")
def ui(
    stack: StackOption = None,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> None:
    """Open the ZenML dashboard and MLflow on this machine, until Ctrl-C."""
    from cli.ui import run_ui

    run_ui(config, stack, set_ or [])


@app.command(rich_help_panel="Look and ask")
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


@app.command(rich_help_panel="The machine room")
def stop(
    config: ConfigOption = None,
    stack: StackOption = None,
    set_: SetOption = None,
) -> None:
    """Stop the endpoint. Its releases stay; `deploy` starts it where it was."""
    from cli.deploy import run_stop

    run_stop(config, stack, set_ or [])


@app.command(rich_help_panel="The machine room")
def logs(
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many lines of each log.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written, until Ctrl-C.")] = False,
    config: ConfigOption = None,
    stack: StackOption = None,
    set_: SetOption = None,
) -> None:
    """Show what the endpoint wrote: its launcher, the gateway and the engine."""
    from cli.logs import run_logs

    run_logs(config, stack, set_ or [], lines=lines, follow=follow)


@app.command(rich_help_panel="The machine room")
def doctor(
    json_: Annotated[bool, typer.Option("--json", help="Print JSON alone.")] = False,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> None:
    """Check this machine, both environments and a config: what is there, what is missing, what to do."""
    from cli.doctor import run_doctor

    run_doctor(config, set_ or [], json_output=json_)


@app.command(rich_help_panel="The machine room")
def pretrain(
    config: ConfigOption = None,
    stack: StackOption = None,
    set_: SetOption = None,
    no_cache: NoCacheOption = False,
) -> None:
    """Make the tiny base model from nothing (half an hour on two cores; the repository ships the result)."""
    from cli.pretrain import run_pretrain

    run_pretrain(config, stack, set_ or [], no_cache=no_cache)


@app.command(rich_help_panel="The machine room")
def bento(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="Also copy it there, for docker build.", show_default=False
        ),
    ] = None,
) -> None:
    """Pack the endpoint as a Bento with its Dockerfile, for a cluster or another machine."""
    from cli.bento import run_bento

    run_bento(output)


app.add_typer(stack_app, name="stack", rich_help_panel="The machine room")


def main() -> None:
    """Run a command and turn errors into a message and an exit code."""
    quiet()  # before anything imports torch or ZenML
    try:
        app()
    except TunelineError as error:
        complain(error)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.filename is None:
            raise
        hint = "Is it there, and may you write to it? TUNELINE_HOME and ZENML_CONFIG_PATH say where files are kept."
        complain(TunelineError(f"{error.filename}: {error.strerror}", hint=hint))
        sys.exit(TunelineError.exit_code)
    except Exception as error:
        unreachable = explained(error)
        if unreachable is None:
            raise
        complain(unreachable)
        sys.exit(unreachable.exit_code)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            complain(TunelineError("interrupted", hint="Nothing is half-done: run the same command again, it goes on."))
        raise
