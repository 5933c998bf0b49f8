"""``run.py promote`` and ``run.py rollback``: stage and traffic, together or not at all."""

from __future__ import annotations

import time
from pathlib import Path

from rich.markup import escape

from cli.deploy import release_version
from cli.screen import complain_softly, say
from cli.train import refuse
from cli.workplace import checked_config, use_stack
from tuneline.config import Config
from tuneline.errors import UserError


def run_promote(
    version: str,
    reason: str | None,
    override: str | None,
    path: Path | None,
    stack: str | None,
    overrides: list[str],
) -> None:
    """Put a version into production that passed the gate, or one that did not, for a reason that stays with it."""
    config = checked_config(path, overrides)
    _check_reasons(config, version, reason, override)
    use_stack(stack)
    from controlplane.versions import get_version

    found = get_version(config.name, version)
    if found.stage == "production":
        say(f"Version {version} is in production already.")
        return
    outcome = found.record.outcome
    if override is None and outcome != "PASS":
        refuse(found)
    if override is not None and outcome == "PASS":
        raise UserError(
            f"version {version} passed the gate: there is nothing to override",
            hint=f'Promote it with a reason: `python run.py promote {version} --reason "…"`.',
        )
    overruled = (override or "").strip()
    release_version(config, version, (reason or overruled or "promoted by hand").strip(), override=overruled)
    say(f"Version {version} is in production. Back again: [bold]python run.py rollback[/bold]")
    if overruled:
        say(f"[red]The gate said {outcome} and was overridden: {escape(overruled)}[/red] `models` goes on showing it.")


def run_rollback(to: str | None, reason: str, path: Path | None, stack: str | None, overrides: list[str]) -> None:
    """Go back to a version that was in production before."""
    config = checked_config(path, overrides)
    _check_not_empty("--reason", reason)
    use_stack(stack)
    from controlplane.endpoint import connect, find_endpoint
    from controlplane.registry import follow_stages
    from controlplane.rollback import rollback
    from controlplane.storage import active_storage

    storage = active_storage()
    live = connect(config.name) if find_endpoint(config.name) else None
    started = time.perf_counter()
    version, release = rollback(config.name, storage, to, reason.strip())
    if live is None:
        say(f"Release {release.sequence} puts version {version.name} into production; the endpoint is not running.")
        say("Next: [bold]python run.py deploy[/bold] starts it.")
    else:
        live.await_release(release.sequence, timeout=30)
        seconds = time.perf_counter() - started
        say(f"Version {version.name} has the traffic and the production stage again, after {seconds:.2f} s.")
    if warning := follow_stages(config.name):  # MLflow takes seconds to import: traffic has moved by now
        complain_softly(warning)


def _check_reasons(config: Config, version: str, reason: str | None, override: str | None) -> None:
    if reason is not None:
        _check_not_empty("--reason", reason)
    if override is not None:
        _check_not_empty("--override", override)
    if config.gate.approval == "by_hand" and reason is None and override is None:
        raise UserError(
            f"version {version} is promoted by hand only, and with a reason (gate.approval is by_hand)",
            hint=f'`python run.py promote {version} --reason "…"`; it is kept in the release and in the history.',
        )


def _check_not_empty(option: str, reason: str) -> None:
    if not reason.strip():
        raise UserError(f"{option} is empty: say why, it is kept with the version")
