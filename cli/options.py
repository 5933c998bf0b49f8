"""The options that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The experiment's YAML. Default: configs/tiny.yaml.", show_default=False),
]
StackOption = Annotated[
    str | None,
    typer.Option(
        "--stack",
        "-s",
        help="The ZenML stack to run on. Default: the active one, or tuneline-local.",
        show_default=False,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a config value, e.g. training.learning_rate=1e-3. Repeatable."
    ),
]
NoCacheOption = Annotated[bool, typer.Option("--no-cache", help="Do everything again, reuse nothing.")]
