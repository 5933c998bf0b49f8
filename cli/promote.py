"""``run.py promote`` and ``run.py rollback``: stage and traffic, together or not at all."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from cli.deploy import release_version
from cli.screen import complain_softly, say
from cli.train import refuse
from cli.workplace import checked_config, use_stack
from tuneline.config import Config
from tuneline.errors import UserError

if TYPE_CHECKING:
    from controlplane.versions import Version


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
    check_reasons(config, f"promote {version}", reason, override)
    use_stack(stack)
    from controlplane.beside import check_no_other
    from controlplane.challenger import canary_of, follow_challenger
    from controlplane.storage import active_storage
    from controlplane.versions import get_version

    found = get_version(config.name, version)
    current = active_storage().releases(config.name).current()
    challenger = canary_of(current)
    if found.stage == "production":
        say(f"Version {version} is in production already.")
        if challenger is not None:
            say(f"A canary of version {challenger} runs beside it; it ends by [bold]python run.py canary --off[/bold].")
        return
    check_no_other(version, current)
    check_verdict(found, "promote", override)
    follow_challenger(config.name, active_storage())
    overruled = (override or "").strip()
    release_version(config, version, (reason or overruled or "promoted by hand").strip(), override=overruled)
    if challenger is not None:
        say(f"The canary is complete: version {version} has all traffic.")
    say(f"Version {version} is in production. Back again: [bold]python run.py rollback[/bold]")
    if overruled:
        say_that_it_was_overridden(found, overruled)


def run_rollback(to: str | None, reason: str, path: Path | None, stack: str | None, overrides: list[str]) -> None:
    """Go back to a version that was in production before."""
    config = checked_config(path, overrides)
    check_not_empty("--reason", reason)
    use_stack(stack)
    from controlplane.challenger import canary_of, follow_challenger
    from controlplane.endpoint import connect, find_endpoint
    from controlplane.registry import follow_stages
    from controlplane.rollback import rollback
    from controlplane.storage import active_storage

    storage = active_storage()
    follow_challenger(config.name, storage)  # the gateway may have ended one that nobody has looked at since
    before = storage.releases(config.name).current()
    challenger = canary_of(before)
    live = connect(config.name) if find_endpoint(config.name) else None
    started = time.perf_counter()
    version, release = rollback(config.name, storage, to, reason.strip())
    stayed = challenger is not None and version.stage == "production"  # as it was before
    if challenger is not None:
        say(f"The canary of version {challenger} has ended.")
    if live is None:
        say(f"Release {release.sequence} gives version {version.name} all traffic; the endpoint is not running.")
        say("Next: [bold]python run.py deploy[/bold] starts it.")
    else:
        loaded = before is not None and (before.base, before.engine) == (release.base, release.engine)
        if not loaded:
            say(f"Version {version.name} needs another engine, which is started now.")
        live.await_release(release.sequence, timeout=30 if loaded else config.serving.start_timeout)
        after = f"after {time.perf_counter() - started:.2f} s"
        if stayed:
            say(f"Version {version.name}, which stays in production, has all traffic, {after}.")
            say("To go back from it, too: [bold]python run.py rollback[/bold] once more.")
        else:
            say(f"Version {version.name} has the traffic and the production stage again, {after}.")
    if warning := follow_stages(config.name):  # MLflow takes seconds to import: traffic has moved by now
        complain_softly(warning)


def check_verdict(version: Version, command: str, override: str | None) -> None:
    """See that a version passed the gate, or is let through by a person.

    Args:
        command: what is done with it, ``promote`` or ``canary``.

    Raises:
        SystemExit: it did not pass, and nobody overrules that.
        UserError: it passed, and somebody overrules that.
    """
    if override is None and version.record.outcome != "PASS":
        refuse(version, command)
    if override is not None and version.record.outcome == "PASS":
        raise UserError(
            f"version {version.name} passed the gate: there is nothing to override",
            hint=f"Give a --reason instead, or none: `python run.py {command} {version.name}`.",
        )


def say_that_it_was_overridden(version: Version, why: str) -> None:
    """Say once more what will be shown for ever."""
    said = f"The gate said {version.record.outcome} and was overridden: {escape(why)}"
    say(f"[red]{said}[/red] `models` goes on showing it.")


def check_reasons(config: Config, command: str, reason: str | None, override: str | None) -> None:
    """See that whoever gives traffic by hand says why, where the config wants it.

    Raises:
        UserError: a reason is missing, or empty.
    """
    if reason is not None:
        check_not_empty("--reason", reason)
    if override is not None:
        check_not_empty("--override", override)
    if config.gate.approval == "by_hand" and reason is None and override is None:
        with_reason = f'{command} --reason "…"'
        raise UserError(
            f"`{command}` gives traffic by hand, and needs a reason (gate.approval is by_hand)",
            hint=f"`python run.py {with_reason}`; it is kept in the release and in the history.",
        )


def check_not_empty(option: str, reason: str) -> None:
    """Raise a UserError if a reason has no words."""
    if not reason.strip():
        raise UserError(f"{option} is empty: say why, it is kept with the version")
