"""``run.py canary`` without arguments: who is compared with whom, how both fare, and what ends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from cli.screen import complain_softly, console, say
from controlplane.canary import share_of
from controlplane.challenger import aborted, canary_of
from controlplane.counts import Counts, read_counts
from controlplane.endpoint import connect, find_endpoint
from controlplane.follow import answering
from tuneline.errors import TunelineError
from tuneline.release.document import Release

if TYPE_CHECKING:
    from controlplane.versions import Version

_RESULTS = ("failed", "empty", "overlong")


def show_canary(model: str, current: Release | None, versions: Sequence[Version]) -> None:
    """Print the running canary, or that there is none; and the last one that a gateway ended."""
    production = answering(current) if current else None
    challenger = canary_of(current)
    if current is None or challenger is None or production is None:
        has = f"version {production} has all the traffic" if production else "no version is in production"
        say(f"No canary of {model!r} is running: {has}.")
    else:
        _show_running(model, current, production, challenger, versions)
    ended = [(entry, version.name) for version in versions if (entry := aborted(version)) is not None]
    for entry, name in sorted(ended, key=lambda pair: pair[0].when)[-1:]:
        when = f"{entry.when:%Y-%m-%d %H:%M} UTC, release {entry.release}"
        say(f"[red]The last one that a gateway ended was version {name}'s[/red] ({when}): {escape(entry.reason)}")
    if challenger is None:
        first = "python run.py canary VERSION --percent 10" if production else "python run.py deploy"
        say(f"Next: [bold]{first}[/bold]")
    else:
        all_traffic = f"All traffic: [bold]python run.py promote {challenger}[/bold]"
        say(f"{all_traffic}   End it: [bold]python run.py canary --off[/bold]")


def _show_running(model: str, current: Release, production: str, challenger: str, versions: Sequence[Version]) -> None:
    share = share_of(current)
    events = [entry for version in versions if version.name == challenger for entry in version.events]
    begun = next((entry for entry in reversed(events) if entry.action == "canary started"), None)
    since = f" since {begun.when:%Y-%m-%d %H:%M} UTC ({begun.who}: {escape(begun.reason)})" if begun else ""
    does = f"shadows {share.percent:g} % of" if share.shadow else f"gets {share.percent:g} % of the traffic of"
    say(f"Version {challenger} {does} {model!r} beside version {production}{since}.")
    if find_endpoint(model) is None:
        say("The endpoint is not running. [bold]python run.py deploy[/bold] starts it.")
    else:
        try:
            console.print(counts_table(read_counts(connect(model).metrics()), production, challenger))
        except TunelineError as error:
            complain_softly(f"The gateway's counts cannot be read: {error.what}")
    bounds = share.bounds
    say(
        f"The gateway ends it, from {bounds.min_requests} answers of version {challenger} on, if it has this much more "
        f"than version {production}: failed {bounds.errors:g}, empty {bounds.empty:g}, overlong {bounds.overlong:g} "
        f"percentage points; or a median time to first token {bounds.ttft:g} times as long."
    )


def counts_table(counts: Mapping[str, Counts], production: str, challenger: str) -> Table:
    """How both fare, pinned questions left out."""
    table = Table(title="Answers since the gateway's start", title_justify="left")
    for column in ("version", "", "answers", *_RESULTS, "first token"):
        table.add_column(column, justify="left" if column in ("version", "") else "right")
    for name, role in ((production, "production"), (challenger, "challenger")):
        found = counts.get(name, Counts())
        shares = (
            f"{found.results.get(result, 0)} ({found.results.get(result, 0) / found.answers:.1%})"
            if found.answers
            else "0"
            for result in _RESULTS
        )
        median = found.median_ttft
        table.add_row(name, role, str(found.answers), *shares, "" if median is None else f"{median * 1000:.0f} ms")
    return table
