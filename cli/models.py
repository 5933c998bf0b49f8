"""``run.py models``: versions, stages, verdicts, scores and who gets the traffic; or all about one version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from cli.screen import complain_softly, console, say
from cli.workplace import checked_config, use_stack

if TYPE_CHECKING:
    from controlplane.versions import Version
    from tuneline.release.document import Release


def run_models(
    name: str | None, path: Path | None, stack: str | None, overrides: list[str], *, json_output: bool
) -> None:
    """Show the versions of the config's model, or one of them."""
    config = checked_config(path, overrides)
    use_stack(stack)
    from cli.scoreboard import challenger_in, scoreboard, version_page
    from controlplane.challenger import aborted, follow_challenger
    from controlplane.endpoint import connect, find_endpoint
    from controlplane.registry import behind, follow_stages
    from controlplane.storage import active_storage
    from controlplane.versions import get_version

    versions = follow_challenger(config.name, active_storage())  # a gateway may have ended a canary
    found = get_version(config.name, name) if name is not None else None
    current = active_storage().releases(config.name).current()
    roles = challenger_in(current)
    live = find_endpoint(config.name)
    traffic = current.traffic() if current and live else {}
    endpoint: dict[str, Any] | None = None
    if live is not None:
        readiness = connect(config.name).readiness()
        endpoint = {"url": live.url, "ready": readiness["ready"], "release": readiness.get("release")}
    if behind(versions) and (warning := follow_stages(config.name)):
        complain_softly(warning)
    if json_output:
        if found is not None:
            document = _row(found, traffic, current) | {
                "record": found.record.model_dump(mode="json"),
                "history": [entry.model_dump(mode="json") for entry in found.events],
            }
        else:
            document = {"endpoint": endpoint, "versions": [_row(version, traffic, current) for version in versions]}
        print(json.dumps(document, indent=2))
        return
    if found is not None:
        console.print(version_page(found, traffic.get(found.name), roles.get(found.name)))
        return
    if not versions:
        say(f"{config.name!r} has no versions yet. Next: [bold]python run.py train[/bold]")
        return
    console.print(scoreboard(config.name, versions, traffic, roles))
    for version in versions:
        if version.override is not None:
            say(f"[red]Version {version.name} is there by override:[/red] {escape(version.override.override or '')}")
        if (ended := aborted(version)) is not None and version.stage != "production":
            when = f"{ended.when:%Y-%m-%d %H:%M} UTC"
            say(f"[red]Version {version.name}'s canary was ended by a gateway[/red] ({when}): {escape(ended.reason)}")
    if roles:
        say("A canary is running: [bold]python run.py canary[/bold] shows how it fares.")
    if endpoint is None:
        say("The endpoint is not running. [bold]python run.py deploy[/bold] starts it.")
    else:
        state = "ready" if endpoint["ready"] else "not ready"
        say(f"Endpoint: [bold]{endpoint['url']}/v1[/bold], {state}, release {endpoint['release']}")


def _row(version: Version, traffic: dict[str, float], current: Release | None) -> dict[str, Any]:
    from controlplane.challenger import aborted, canary_of

    challenges = current is not None and canary_of(current) == version.name
    ended = aborted(version)
    return {
        "version": version.name,
        "stage": version.stage,
        "verdict": version.record.outcome,
        "whole_model": version.record.whole_model is not None,
        "override": version.override.override if version.override else None,
        "scores": version.record.scores,
        "traffic_percent": traffic.get(version.name, 0.0),
        "challenger": current.routes.model_dump(include={"percent", "shadow"}) if current and challenges else None,
        "canary_ended_by_gateway": ended.model_dump(mode="json", include={"when", "release", "reason"})
        if ended
        else None,
    }
