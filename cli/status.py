"""``run.py status``: whether the endpoint runs, what is live, what is wanted, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from cli.screen import console, say
from cli.workplace import checked_config, use_stack

if TYPE_CHECKING:
    from controlplane.status import EndpointStatus


def run_status(path: Path | None, stack: str | None, overrides: list[str], *, json_output: bool) -> None:
    """Show the endpoint as it is at this moment, running or not."""
    config = checked_config(path, overrides)
    use_stack(stack)
    from controlplane.status import endpoint_status
    from controlplane.storage import active_storage

    status = endpoint_status(config.name, active_storage())
    if json_output:
        print(status.model_dump_json(indent=2))
        return
    table = Table(title=f"Endpoint {status.endpoint}", title_justify="left", show_header=False)
    for label, value in _rows(status):
        table.add_row(label, Text(value, style="red" if label == "error" else ""))
    console.print(table)
    say(f"Next: {_next(status)}")


def _rows(status: EndpointStatus) -> Iterator[tuple[str, str]]:
    yield "state", status.state
    if status.error:
        yield "error", status.error
    if status.url and status.running:
        yield "address", f"{status.url}/v1, model name {status.endpoint}"
    if status.pid is not None:
        yield "process", f"{status.pid}{_since(status.since)}"
    if status.wanted is None:
        yield "release", "none yet"
    elif status.live == status.wanted or not status.running:
        yield "release", f"{status.wanted}: {status.reason}"
    else:
        yield "release", f"{status.live or 'none'} is live, {status.wanted} is wanted: {status.reason}"
    if shares := [f"version {name} {percent:g} %" for name, percent in status.traffic.items() if percent]:
        yield "traffic", ", ".join(shares)
    if status.challenger is not None:
        yield "canary", f"version {status.challenger}{', as a shadow' if status.shadow else ''}"
    if (engine := status.engine) is not None:
        starts = f", started {engine.starts} times" if engine.starts and engine.starts > 1 else ""
        process = f", process {engine.pid}{_since(engine.since)}" if engine.pid else ""
        yield "engine", f"{engine.state}{process}{starts}"
        if engine.error:
            yield "error", engine.error
    yield "API keys", str(status.keys)
    yield "folder", status.folder
    if status.logs is not None:
        yield "logs", str(status.logs)


def _since(moment: datetime | None) -> str:
    if moment is None:
        return ""
    minutes = int((datetime.now(UTC) - moment).total_seconds() // 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    lasts = f"{days} d {hours} h" if days else f"{hours} h {minutes} min" if hours else f"{minutes} min"
    return f", since {moment:%Y-%m-%d %H:%M} UTC ({lasts})"


def _next(status: EndpointStatus) -> str:
    if status.wanted is None:
        return "[bold]python run.py[/bold] makes the first version and starts it."
    if not status.running:
        if status.url:
            return f"start it where it runs; it is looked for at {status.url}."
        return "[bold]python run.py deploy[/bold] starts it where it was."
    if status.error or not status.ready:
        return "[bold]python run.py logs[/bold] shows what it says."
    if status.challenger is not None:
        return "[bold]python run.py canary[/bold] shows how the challenger fares."
    return '[bold]python run.py ask "…"[/bold] asks it; [bold]python run.py models[/bold] shows all versions.'
