"""``run.py models``: versions, stages, verdicts, scores and who gets the traffic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cli.screen import console, say
from cli.workplace import checked_config, use_stack


def run_models(path: Path | None, stack: str | None, overrides: list[str], *, json_output: bool) -> None:
    """Show the versions of the config's model."""
    config = checked_config(path, overrides)
    use_stack(stack)
    from cli.scoreboard import scoreboard
    from controlplane.endpoint import connect, find_endpoint
    from controlplane.storage import active_storage
    from controlplane.versions import list_versions

    versions = list_versions(config.name)
    current = active_storage().releases(config.name).current()
    traffic = current.traffic() if current else {}
    live = find_endpoint(config.name)
    endpoint: dict[str, Any] | None = None
    if live is not None:
        readiness = connect(config.name).readiness()
        endpoint = {"url": live.url, "ready": readiness["ready"], "release": readiness.get("release")}
    if json_output:
        rows = [
            {
                "version": version.name,
                "stage": version.stage,
                "verdict": version.record.outcome,
                "scores": version.record.scores,
                "traffic_percent": traffic.get(version.name, 0.0) if endpoint else 0.0,
            }
            for version in versions
        ]
        print(json.dumps({"endpoint": endpoint, "versions": rows}, indent=2))
        return
    if not versions:
        say(f"{config.name!r} has no versions yet. Next: [bold]python run.py train[/bold]")
        return
    console.print(scoreboard(config.name, versions, traffic if endpoint else {}))
    if endpoint is None:
        say("The endpoint is not running. [bold]python run.py deploy[/bold] starts it.")
    else:
        state = "ready" if endpoint["ready"] else "not ready"
        say(f"Endpoint: [bold]{endpoint['url']}/v1[/bold], {state}, release {endpoint['release']}")
