"""The one door: ``python run.py``, its commands by panel, and how their errors end."""

from __future__ import annotations

import sys

import typer

from cli import commands_look, commands_machine, commands_release
from cli.keys import keys_app
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


# In the order of the help's panels.
for group in (commands_release, commands_look, commands_machine):
    app.add_typer(group.commands)
app.add_typer(keys_app, name="keys", rich_help_panel=commands_machine.PANEL)
app.add_typer(stack_app, name="stack", rich_help_panel=commands_machine.PANEL)


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
