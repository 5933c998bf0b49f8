"""``run.py promote`` and ``run.py rollback``: stage and traffic, together or not at all."""

from __future__ import annotations

import time
from pathlib import Path

from cli.deploy import release_version
from cli.screen import say
from cli.train import refuse
from cli.workplace import checked_config, use_stack


def run_promote(version: str, reason: str, path: Path | None, stack: str | None, overrides: list[str]) -> None:
    """Put a version that passed the gate into production."""
    config = checked_config(path, overrides)
    use_stack(stack)
    from controlplane.versions import get_version

    found = get_version(config.name, version)
    if found.stage == "production":
        say(f"Version {version} is in production already.")
        return
    if found.record.outcome != "PASS":
        refuse(found.record.outcome, found.record.sentence)
    release_version(config, version, reason)
    say(f"Version {version} is in production. Back again: [bold]python run.py rollback[/bold]")


def run_rollback(to: str | None, reason: str, path: Path | None, stack: str | None, overrides: list[str]) -> None:
    """Go back to a version that was in production before."""
    config = checked_config(path, overrides)
    use_stack(stack)
    from controlplane.endpoint import connect, find_endpoint
    from controlplane.releases import rollback
    from controlplane.storage import active_storage

    started = time.perf_counter()
    version, release = rollback(config.name, active_storage(), to, reason)
    if find_endpoint(config.name) is None:
        say(f"Release {release.sequence} puts version {version.name} into production; the endpoint is not running.")
        say("Next: [bold]python run.py deploy[/bold] starts it.")
        return
    connect(config.name).await_release(release.sequence, timeout=30)
    seconds = time.perf_counter() - started
    say(f"Version {version.name} has the traffic and the production stage again, after {seconds:.2f} s.")
