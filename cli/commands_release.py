"""The commands from data to production: what each takes and what its help says."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import ConfigOption, NoCacheOption, SetOption, StackOption

PANEL = "From data to production"
commands = typer.Typer()


@commands.command(rich_help_panel=PANEL)
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


@commands.command(rich_help_panel=PANEL)
def search(
    config: ConfigOption = None,
    stack: StackOption = None,
    set_: SetOption = None,
    only_search: Annotated[
        bool, typer.Option("--only-search", help="End with the best config, train and judge nothing.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the trials and the best as JSON alone.")] = False,
    no_cache: NoCacheOption = False,
) -> None:
    """Try values of the config (its section search), and train, evaluate and judge with the best of them.

    Each trial is a step on the stack. Killed, the same command goes on: trials that are done are kept, and with a
    larger search.trials there are more of them.
    """
    from cli.search import run_search

    run_search(config, stack, set_ or [], only_search=only_search, no_cache=no_cache, json_output=json_)


@commands.command(rich_help_panel=PANEL)
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


@commands.command(rich_help_panel=PANEL)
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


@commands.command(rich_help_panel=PANEL)
def canary(
    version: Annotated[
        str | None, typer.Argument(help="The challenger, as `models` lists it.", show_default=False)
    ] = None,
    percent: Annotated[
        float | None,
        typer.Option(help="Its share of the traffic that is not pinned, above 0 to 100.", show_default=False),
    ] = None,
    shadow: Annotated[
        bool | None,
        typer.Option("--shadow/--no-shadow", help="It answers beside production, and nobody sees its answers."),
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="End it: production has all the traffic again.")] = False,
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
            help="Why a version that did not pass the gate gets a share all the same. Shown with it for ever.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
    stack: StackOption = None,
    set_: SetOption = None,
) -> None:
    """Give a version a share of the traffic beside production; without arguments, show how it fares.

    It is proven first, like any other, and answers from the same engine. The gateway compares both all the time and
    ends the canary if the challenger is worse than serving.canary in the config allows. `promote` completes it, --off
    ends it; neither restarts anything.
    """
    from cli.canary import run_canary

    run_canary(version, percent, shadow, off, reason, override, config, stack, set_ or [])


@commands.command(rich_help_panel=PANEL)
def rollback(
    to: Annotated[str | None, typer.Option(help="Any earlier version. Default: the one before.")] = None,
    reason: Annotated[
        str, typer.Option(help="Why; it is written into the release and the version's history.")
    ] = "rolled back by hand",
    config: ConfigOption = None,
    stack: StackOption = None,
    set_: SetOption = None,
) -> None:
    """Send traffic and the production stage back to a version that had them before, within a second.

    While a canary runs, the canary is what is undone; with --to both are.
    """
    from cli.promote import run_rollback

    run_rollback(to, reason, config, stack, set_ or [])
