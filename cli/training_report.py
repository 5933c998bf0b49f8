"""``run.py report --training``: how a version was trained, alone or beside another, as a page and in short."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from cli.screen import console, say
from controlplane.trainings import training_of
from tuneline.training.beside import beside_page, differences
from tuneline.training.page import origin_rows, record_page, shown
from tuneline.training.record import TrainingRecord

if TYPE_CHECKING:
    from controlplane.versions import Version

_SHOWN = (
    *("steps", "stopped", "samples", "supervised_tokens", "final_loss", "best_validation_loss", "best_step"),
    *("seconds", "tokens_per_second", "peak_memory_gib", "device"),
)


def training_report(version: Version, other: Version | None) -> str:
    """Print the numbers and what differs.

    Returns:
        The page.
    """
    records = [training_of(found) for found in (version, other) if found is not None]
    console.print(_numbers(version.model, records))
    if len(records) == 1:
        return record_page(version.model, records[0])
    one, against = records
    if one.origin and against.origin:
        different = _different(one, against)
        if different.row_count:
            console.print(different)
        else:
            say("Settings, data and environment are the same in both.")
    return beside_page(version.model, one, against)


def _numbers(model: str, records: list[TrainingRecord]) -> Table:
    table = Table(title=f"{model}: training", title_justify="left")
    table.add_column("")
    for record in records:
        table.add_column(record.name, justify="right")
    for key in _SHOWN:
        if any(record.numbers.get(key) is not None for record in records):
            table.add_row(key.replace("_", " "), *(escape(shown(record.numbers.get(key))) for record in records))
    return table


def _different(one: TrainingRecord, other: TrainingRecord) -> Table:
    table = Table(title="What differs", title_justify="left")
    for column in ("", one.name, other.name):
        table.add_column(column)
    theirs = origin_rows(other.origin)
    for title, rows in origin_rows(one.origin).items():
        for key, values in differences(rows, theirs[title]).items():
            table.add_row(escape(key), *(escape(shown(value)) for value in values))
    return table
