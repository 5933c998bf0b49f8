"""``run.py train``: a judged version, found or made."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import yaml
from rich.markup import escape

from cli.deploy import say_that_it_waits
from cli.preflight import check_data
from cli.screen import console, say
from cli.workplace import checked_config, use_stack
from tuneline.config import Config

if TYPE_CHECKING:
    from controlplane.versions import Version

GATE_DID_NOT_PASS = 3


def run_train(path: Path | None, stack: str | None, overrides: list[str], *, no_cache: bool) -> None:
    """Train and judge; exit code 3 if the gate did not pass."""
    config = checked_config(path, overrides)
    check_data(config)
    use_stack(stack)
    train_and_judge(config, no_cache=no_cache)


def train_and_judge(config: Config, *, no_cache: bool) -> None:
    """The rest of it, once a stack is active."""
    from cli.scoreboard import scoreboard

    version = trained_version(config, no_cache=no_cache)
    console.print(scoreboard(config.name, [version]))
    if version.record.outcome != "PASS":
        refuse(version)
    if config.gate.approval == "by_hand" and version.stage == "staging":
        say_that_it_waits(version.name)
    else:
        say(f"Next: [bold]python run.py deploy[/bold] puts version {version.name} into production, proven first.")


def refuse(version: Version, command: str = "promote") -> NoReturn:
    """Say why the gate did not pass a version and which command overrules it, and end with the gate's exit code."""
    name, record = version.name, version.record
    say(f"[bold red]The gate says {record.outcome}.[/bold red] {escape(record.sentence)}")
    say("Staging and production are untouched.")
    say(
        f"Next: [bold]python run.py report {name}[/bold] shows the answers, worst first. A person may decide otherwise,"
    )
    overruled = f'{command} {name} --override "reason"'
    say(f"and is on record for it: `python run.py {overruled}`.")
    sys.exit(GATE_DID_NOT_PASS)


def trained_version(config: Config, *, no_cache: bool) -> Version:
    """The version made from exactly this config, data, base model and code: found, or made now."""
    from controlplane.bases import base_sha256
    from controlplane.lineage import training_key
    from pipelines.training import training_pipeline

    key = training_key(config)
    if not no_cache and (version := _newest(config.name, key)) is not None:
        say(f"Version {version.name} was made from exactly this config, data and code: nothing to train.")
        return version
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(config.zenml.run_configuration(), file)
        file.flush()
        run = training_pipeline.with_options(config_path=file.name, enable_cache=not no_cache)
        run(config, base_sha256(config.model), key)
    made = _newest(config.name, key)  # and not the last of all: somebody else may have registered one meanwhile
    assert made is not None, "the pipeline's last step registers it"
    return made


def _newest(model: str, key: str) -> Version | None:
    from controlplane.versions import list_versions

    return next((found for found in reversed(list_versions(model)) if found.record.training_key == key), None)
