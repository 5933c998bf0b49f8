"""Versions as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

from controlplane.versions import Version

_OUTCOME = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow"}


def scoreboard(model: str, versions: Sequence[Version], traffic: Mapping[str, float] | None = None) -> Table:
    """One row per version: stage, verdict, mean of every metric, percent of the traffic if it is known."""
    metrics = sorted({metric for version in versions for metric in version.record.scores})
    table = Table(title=f"Versions of {model}", title_justify="left")
    for column in ("version", "stage", "verdict"):
        table.add_column(column)
    for column in (*metrics, *(["traffic"] if traffic is not None else [])):
        table.add_column(column.replace("_", " "), justify="right")
    for version in versions:
        outcome = version.record.outcome
        row = [version.name, version.stage, f"[{_OUTCOME[outcome]}]{outcome}[/]"]
        row += [f"{version.record.scores[m]:.1%}" if m in version.record.scores else "" for m in metrics]
        if traffic is not None:
            share = traffic.get(version.name)
            row.append(f"{share:.0f} %" if share is not None else "")
        table.add_row(*row)
    return table
