"""The commands of the machine room: what each takes and what its help says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.options import ConfigOption, NoCacheOption, SetOption, StackOption

PANEL = "The machine room"
commands = typer.Typer()


@commands.command(rich_help_panel=PANEL)
def status(
    json_: Annotated[bool, typer.Option("--json", help="Print JSON alone.")] = False,
    config: ConfigOption = None,
    stack: StackOption = None,
    set_: SetOption = None,
) -> None:
    """Show the endpoint as it is now: running or not, where, what is live and wanted, who gets the traffic."""
    from cli.status import run_status

    run_status(config, stack, set_ or [], json_output=json_)


@commands.command(rich_help_panel=PANEL)
def stop(
    config: ConfigOption = None,
    stack: StackOption = None,
    set_: SetOption = None,
) -> None:
    """Stop the endpoint. Its releases stay; `deploy` starts it where it was."""
    from cli.deploy import run_stop

    run_stop(config, stack, set_ or [])


@commands.command(rich_help_panel=PANEL)
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


@commands.command(rich_help_panel=PANEL)
def doctor(
    json_: Annotated[bool, typer.Option("--json", help="Print JSON alone.")] = False,
    config: ConfigOption = None,
    gpu: Annotated[
        str | None, typer.Option("--gpu", help='Plan for this GPU, e.g. "A100 40GB". Default: this machine.')
    ] = None,
    gpu_gib: Annotated[float | None, typer.Option("--gpu-gib", min=1, help="Plan for so much GPU memory, GiB.")] = None,
    set_: SetOption = None,
) -> None:
    """Check this machine and a config: what is there, what is missing, what a run takes and whether that fits."""
    from cli.doctor import run_doctor

    run_doctor(config, set_ or [], json_output=json_, gpu=gpu, gpu_gib=gpu_gib)


@commands.command(rich_help_panel=PANEL)
def base(
    quantization: Annotated[
        str | None,
        typer.Option(
            metavar="none,int8,nf4",
            help="How to load it. Default: as the config's model section says.",
            show_default=False,
        ),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Try it in full, 8-bit and 4-bit.")] = False,
    ask: Annotated[list[str] | None, typer.Option("--ask", metavar="QUESTION", help="Ask this. Repeatable.")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=2, help="Longest answer, tokens.")] = 48,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON alone.")] = False,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> None:
    """Try the base model: load it, let it answer, measure latency, tokens/s and memory."""
    from cli.base import run_base

    run_base(
        config,
        set_ or [],
        quantization=quantization,
        every=all_,
        questions=ask or [],
        max_new_tokens=max_new_tokens,
        json_output=json_,
    )


@commands.command(rich_help_panel=PANEL)
def pretrain(
    config: ConfigOption = None,
    stack: StackOption = None,
    set_: SetOption = None,
    no_cache: NoCacheOption = False,
) -> None:
    """Make the tiny base model from nothing (half an hour on two cores; the repository ships the result)."""
    from cli.pretrain import run_pretrain

    run_pretrain(config, stack, set_ or [], no_cache=no_cache)


@commands.command(rich_help_panel=PANEL)
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
