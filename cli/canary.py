"""``run.py canary``: a second version gets a share of the traffic, or shadows production, until somebody decides."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from cli.preflight import check_endpoint
from cli.promote import check_not_empty, check_reasons, check_verdict, say_that_it_was_overridden
from cli.screen import say
from cli.workplace import checked_config, use_stack
from tuneline.config import Config
from tuneline.errors import UserError

if TYPE_CHECKING:
    from controlplane.canary import Share
    from controlplane.storage import Storage
    from tuneline.release.document import Release


def run_canary(
    version: str | None,
    percent: float | None,
    shadow: bool | None,
    off: bool,
    reason: str | None,
    override: str | None,
    path: Path | None,
    stack: str | None,
    overrides: list[str],
) -> None:
    """Begin a canary, change its share, end it, or show it."""
    config = checked_config(path, overrides)
    _check_options(config, version, percent, shadow, off=off, reason=reason, override=override)
    use_stack(stack)
    from controlplane.challenger import canary_of, follow_challenger
    from controlplane.storage import active_storage

    storage = active_storage()
    versions = follow_challenger(config.name, storage)  # the gateway may have ended one
    current = storage.releases(config.name).current()
    if off:
        _end(config, storage, current, reason)
    elif version is not None and version != canary_of(current):
        _begin(config, storage, version, percent, bool(shadow), reason, override)
    elif version is not None or percent is not None or shadow is not None:
        _change(config, storage, percent, shadow, reason)
    else:
        from cli.canary_page import show_canary

        show_canary(config.name, current, versions)


def _check_options(
    config: Config,
    version: str | None,
    percent: float | None,
    shadow: bool | None,
    *,
    off: bool,
    reason: str | None,
    override: str | None,
) -> None:
    if percent is not None and not 0 < percent <= 100:
        raise UserError(
            f"--percent is {percent:g}: a challenger's share is above 0 and at most 100",
            hint="`python run.py canary --off` takes its traffic away.",
        )
    changes = percent is not None or shadow is not None
    if off and (version is not None or changes or override is not None):
        raise UserError(
            "--off ends the canary that is running: beside it there is only --reason",
            hint="`python run.py canary --off`",
        )
    if version is not None and not changes:
        raise UserError(
            f"which share of the traffic is version {version} to get?",
            hint=f"`python run.py canary {version} --percent 10`; with --shadow it answers and nobody sees it.",
        )
    if version is None and override is not None:
        raise UserError(
            "--override lets a version through that did not pass the gate: say which",
            hint='`python run.py canary VERSION --percent 10 --override "…"`',
        )
    if version is None and not changes and not off and reason is not None:
        raise UserError("--reason gives a reason for nothing", hint="Say what to do: VERSION, --percent or --off.")
    if changes:
        words = ("canary", version, f"--percent {percent:g}" if percent else "--shadow")
        check_reasons(config, " ".join(word for word in words if word), reason, override)
    elif reason is not None:
        check_not_empty("--reason", reason)


def _begin(
    config: Config,
    storage: Storage,
    version: str,
    percent: float | None,
    shadow: bool,
    reason: str | None,
    override: str | None,
) -> None:
    from controlplane.beside import check_beside
    from controlplane.canary import Share
    from controlplane.versions import get_version

    found = get_version(config.name, version)
    current = check_beside(found, storage.releases(config.name).current())
    if percent is None:
        raise UserError(
            f"no canary of version {version} is running: say which share of the traffic it is to shadow",
            hint=f"`python run.py canary {version} --percent 10 --shadow`",
        )
    check_verdict(found, "canary", override)
    overruled = (override or "").strip()
    share = Share(percent=percent, shadow=shadow, bounds=config.serving.canary)
    check_endpoint(config)
    from pipelines.deployment import canary_pipeline

    why = (reason or overruled or f"canary of version {version}: {share}").strip()
    canary_pipeline(config.name, version, why, share, config.serving, overruled)
    production = current.adapters[current.routes.production or ""].model_version
    _say_share(version, share, production)
    if overruled:
        say_that_it_was_overridden(found, overruled)
    say("How it fares: [bold]python run.py canary[/bold]   More: [bold]python run.py canary --percent 25[/bold]")
    say(f"All traffic: [bold]python run.py promote {version}[/bold]   End it: [bold]python run.py canary --off[/bold]")


def _change(config: Config, storage: Storage, percent: float | None, shadow: bool | None, reason: str | None) -> None:
    from controlplane.canary import Share, change_share, running_canary, share_of
    from controlplane.challenger import canary_of

    current = running_canary(config.name, storage)
    before, challenger = share_of(current), canary_of(current) or ""
    after = Share(
        percent=before.percent if percent is None else percent,
        shadow=before.shadow if shadow is None else shadow,
        bounds=config.serving.canary,
    )
    why = (reason or f"canary of version {challenger}: {before} → {after}").strip()
    release = change_share(config.name, storage, after, why, config.serving.gateway)
    if release is None:
        say(f"Version {challenger} has {after} already.")
        return
    seconds = _live_after(config, release)
    production = current.adapters[current.routes.production or ""].model_version
    _say_share(challenger, after, production, seconds)


def _end(config: Config, storage: Storage, current: Release | None, reason: str | None) -> None:
    from controlplane.canary import end_canary
    from controlplane.challenger import canary_of
    from controlplane.follow import answering

    challenger = canary_of(current)
    if current is None or challenger is None:
        say(f"No canary of {config.name!r} is running. `python run.py models` shows who has the traffic.")
        return
    release = end_canary(config.name, storage, (reason or f"canary of version {challenger} ended by hand").strip())
    seconds = _live_after(config, release)
    after = f" after {seconds:.2f} s" if seconds is not None else ""
    say(f"The canary of version {challenger} has ended{after}: version {answering(release)} has all the traffic.")


def _say_share(version: str, share: Share, production: str, seconds: float | None = None) -> None:
    after = f", after {seconds:.2f} s" if seconds is not None else ""
    if share.shadow:
        what = f"{share.percent:g} % of what version {production} is asked"
        say(f"Version {version} shadows {what}{after}; nobody sees its answers.")
    else:
        say(f"Version {version} gets {share.percent:g} % of the traffic beside version {production}{after}.")


def _live_after(config: Config, release: Release) -> float | None:
    """Wait until the running endpoint has applied a release; after how many seconds, or None if none is running."""
    from controlplane.endpoint import connect, find_endpoint

    if find_endpoint(config.name) is None:
        say(f"Release {release.sequence} is written; the endpoint is not running.")
        say("Next: [bold]python run.py deploy[/bold] starts it.")
        return None
    started = time.perf_counter()
    connect(config.name).await_release(release.sequence, timeout=30)
    return time.perf_counter() - started
