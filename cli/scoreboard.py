"""Versions as a table, and one version on a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from controlplane.challenger import canary_of
from controlplane.versions import Version
from tuneline.release.document import Release

_OUTCOME = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow"}


def challenger_in(release: Release | None) -> dict[str, str]:
    """What the challenger of a running canary is, under its version; nothing while none runs."""
    name = canary_of(release)
    if release is None or name is None:
        return {}
    return {name: f"shadows {release.routes.percent:g} %" if release.routes.shadow else "challenger"}


def scoreboard(
    model: str,
    versions: Sequence[Version],
    traffic: Mapping[str, float] | None = None,
    roles: Mapping[str, str] | None = None,
) -> Table:
    """One row per version: stage, verdict, mean of every metric, percent of the traffic if it is known.

    Args:
        roles: what a version is beside its stage, see ``challenger_in``.
    """
    # Those of the leading suite: the others, ``suite/metric``, are for the report, where there is room.
    metrics = sorted({metric for version in versions for metric in version.record.scores if "/" not in metric})
    table = Table(title=f"Versions of {model}", title_justify="left")
    for column in ("version", "stage", "verdict"):
        table.add_column(column)
    for column in (*metrics, *(["traffic"] if traffic is not None else [])):
        table.add_column(column.replace("_", " "), justify="right")
    for version in versions:
        stage = ", ".join(filter(None, (version.stage, (roles or {}).get(version.name))))
        kind = "" if version.record.whole_model is None else " (whole model)"
        row: list[RenderableType] = [f"{version.name}{kind}", stage, verdict_of(version)]
        row += [f"{version.record.scores[m]:.1%}" if m in version.record.scores else "" for m in metrics]
        if traffic is not None:
            share = traffic.get(version.name)
            row.append(f"{share:g} %" if share is not None else "")
        table.add_row(*row)
    return table


def verdict_of(version: Version) -> Text:
    """The gate's outcome; a version that got past it is marked for ever."""
    outcome = version.record.outcome
    text = Text(outcome, style=_OUTCOME[outcome])
    return text if version.override is None else text.append(", overridden", style="bold red")


def version_page(version: Version, traffic: float | None, role: str | None = None) -> Group:
    """All that is known about one version: verdict, scores, data, prompt, and who moved it when and why.

    Args:
        traffic: its percent of the traffic, None if it has none or the endpoint is not running.
        role: what it is beside its stage.
    """
    record, prompt = version.record, version.record.adapter.prompt
    facts = Table(title=f"{version.model}, version {version.name}", title_justify="left", show_header=False)
    share = f"{traffic:g} % of the traffic" if traffic else None
    facts.add_row("stage", Text(", ".join(filter(None, (version.stage, role, share)))))
    facts.add_row("verdict", Text.assemble(verdict_of(version), f"  {record.sentence}"))
    if (override := version.override) is not None:
        said = f"{override.override} ({override.who}, {override.when:%Y-%m-%d %H:%M} UTC)"
        facts.add_row("override", Text(said, style="bold red"))
    facts.add_row("scores", Text("  ".join(f"{name} {score:.3f}" for name, score in sorted(record.scores.items()))))
    facts.add_row("prompt", Text(prompt.name))
    facts.add_row("base model", Text(record.base.model))
    if record.whole_model is not None:
        whole = f"{record.whole_model.model}\nsha256 {record.whole_model.sha256}, served by an engine of its own"
        facts.add_row("whole model", Text(whole))
    facts.add_row("adapter", Text(f"{record.adapter.uri}\nsha256 {record.adapter.sha256}, rank {record.adapter.rank}"))
    facts.add_row("made from", Text(f"training key {record.training_key}"))
    for name in ("training_set", "evaluation_set", "report", "verdict"):
        if (artifact := getattr(record, name)) is not None:
            facts.add_row(name.replace("_", " "), Text(f"ZenML artifact version {artifact}"))
    return Group(facts, Text("\nWhat happened to it (UTC)", style="italic"), *_moves(version))


def _moves(version: Version) -> Iterator[RenderableType]:
    """Two lines per move: reasons are sentences, and would make a table a tower."""
    for entry in version.events:
        step = f", {entry.moved_from} → {entry.to}" if entry.moves and entry.action != "registered" else ""
        if entry.percent:
            step = f", {entry.percent:g} %{' as a shadow' if entry.shadow else ''}"
        release = f", release {entry.release}" if entry.release else ""
        line = f"{entry.when:%Y-%m-%d %H:%M:%S}  {entry.action}{step}{release}, by {entry.who}"
        yield Text(line, style="red" if entry.override else "bold")
        if reason := entry.reason.replace(version.record.sentence, "see the verdict"):
            yield Padding(Text(reason), (0, 0, 0, 2))
