"""``run.py logs``: what the endpoint's processes have written."""

from __future__ import annotations

from pathlib import Path

from cli.screen import say
from cli.workplace import checked_config, use_stack


def run_logs(path: Path | None, stack: str | None, overrides: list[str], *, lines: int, follow: bool) -> None:
    """Print the last lines of the launcher's, the gateway's and the engine's log; go on with what comes."""
    config = checked_config(path, overrides)
    use_stack(stack)
    from controlplane.endpoint import active_deployer

    empty = True
    try:
        for line in active_deployer().endpoint_logs(config.name, follow=follow, tail=lines):
            print(line, flush=True)
            empty = False
    except KeyboardInterrupt:
        return
    if empty:
        say(f"Endpoint {config.name!r} has written nothing here yet. [bold]python run.py deploy[/bold] starts it.")
