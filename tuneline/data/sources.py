"""Where data comes from: a file, the hub, or the template generator. All of them become a ``ChatDataset``.

A row that cannot be converted is quarantined with its place and the reason. A file that is wrong as a whole
(missing, empty, broken, of no known format, or mostly not convertible) is the user's mistake and stops the run.
"""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from tuneline.data.convert import DataFormat, FormatName, NotConvertible, convert_row, detect_format, expected_columns
from tuneline.data.dataset import ChatDataset, Quarantined
from tuneline.data.files import ReadRow, read_rows
from tuneline.data.records import ChatRecord
from tuneline.data.synthetic import generate_records
from tuneline.data.synthetic.names import Split
from tuneline.errors import UserError

MAX_QUARANTINED = 0.05
_EXCERPT_CHARACTERS = 160


def read_synthetic(
    tools: Iterable[str], size: int, *, seed: int, split: Split = "train", system: str | None = None
) -> ChatDataset:
    """Generate MLOps/DevOps questions with their commands (see ``tuneline.data.synthetic``).

    Raises:
        UserError: a tool is unknown.
    """
    try:
        return ChatDataset(records=list(generate_records(tuple(tools), size, seed=seed, split=split, system=system)))
    except ValueError as error:
        raise UserError(f"The synthetic data cannot be generated: {error}.") from None


def read_file(
    path: Path | str,
    *,
    format: DataFormat = "auto",  # noqa: A002 - as in the config
    columns: Mapping[str, str] | None = None,
    name: str | None = None,
    limit: int | None = None,
    max_quarantined: float = MAX_QUARANTINED,
) -> ChatDataset:
    """Read a JSON, JSON Lines, CSV or Parquet file in any known instruction format.

    Args:
        path: the file.
        format: ``auto`` decides by the columns.
        columns: the data's own names where they differ from the format's: ``{"instruction": "question"}``.
        name: what the records' ``source`` and ids start with; the file's name unless given.
        limit: read at most this many rows.
        max_quarantined: largest share of rows that may be unusable, 0 to 1.

    Raises:
        UserError: the file is missing, empty, broken, of no known format, or has too many unusable rows.
    """
    path = Path(path)
    rows = rename_columns(read_rows(path, limit), columns or {}, file=str(path))
    return convert_rows(rows, format, file=str(path), name=name or path.name, max_quarantined=max_quarantined)


def read_hub(
    dataset: str,
    *,
    split: str = "train",
    subset: str | None = None,
    revision: str | None = None,
    format: DataFormat = "auto",  # noqa: A002 - as in the config
    columns: Mapping[str, str] | None = None,
    name: str | None = None,
    limit: int | None = None,
    max_quarantined: float = MAX_QUARANTINED,
) -> ChatDataset:
    """Read a data set of the Hugging Face hub, such as ``tatsu-lab/alpaca`` or ``databricks/databricks-dolly-15k``.

    Args:
        dataset: the hub id.
        split: which split of it, in the notation of ``datasets`` (``train[:1000]``).
        subset: the data set's configuration, for those that have several.
        revision: branch, tag or commit; name one to get the same data next time.
        format: ``auto`` decides by the columns.
        columns: the data's own names where they differ from the format's: ``{"instruction": "question"}``.
        name: what the records' ``source`` and ids start with; the id unless given.
        limit: read at most this many rows.
        max_quarantined: largest share of rows that may be unusable, 0 to 1.

    Raises:
        UserError: the data set cannot be reached or does not exist, is of no known format, or has too many
            unusable rows.
    """
    import datasets  # takes seconds to import

    place = f"hub:{dataset}[{split}]"
    try:
        loaded = datasets.load_dataset(dataset, name=subset, split=split, revision=revision)
    except Exception as error:  # its own errors, huggingface_hub's, httpx's, the file system's
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"The hub data set {dataset!r} (split {split!r}, revision {revision or 'newest'}) cannot be loaded: "
            f"{reason[0]}",
            hint="Check the id and the split, and that this machine reaches the hub (HF_HUB_OFFLINE, HF_ENDPOINT, "
            "HF_TOKEN); without a connection, download the file and use a source of type 'file'.",
        ) from error
    if limit is not None and limit < len(loaded):
        loaded = loaded.select(range(limit))
    rows = [ReadRow(number, dict(row)) for number, row in enumerate(loaded, 1)]
    if not rows:
        raise UserError(f"{place} has no rows.", hint="Choose another split.")
    rows = rename_columns(rows, columns or {}, file=place)
    return convert_rows(rows, format, file=place, name=name or dataset, max_quarantined=max_quarantined)


def rename_columns(rows: list[ReadRow], columns: Mapping[str, str], *, file: str) -> list[ReadRow]:
    """Give columns the names that the format expects.

    Args:
        rows: what has been read.
        columns: the format's name to the file's.
        file: for the error message.

    Raises:
        UserError: a column is in no row.
    """
    if not columns:
        return rows
    present = dict.fromkeys(name for row in rows if isinstance(row.value, dict) for name in row.value)
    for wanted, theirs in columns.items():
        if theirs not in present:
            near = difflib.get_close_matches(theirs, list(present), 1)
            raise UserError(
                f"{file}: columns.{wanted} names the column {theirs!r}, which no row has; "
                f"there are {', '.join(map(repr, present))}.",
                hint=f"Did you mean {near[0]!r}?" if near else "Name one of these.",
            )
    new_names = {theirs: wanted for wanted, theirs in columns.items()}

    def renamed(value: object) -> object:
        if not isinstance(value, dict):
            return value
        # A column whose name is wanted for another one gives way to it.
        kept = {name: cell for name, cell in value.items() if name in new_names or name not in columns}
        return {new_names.get(name, name): cell for name, cell in kept.items()}

    return [ReadRow(row.line, renamed(row.value)) for row in rows]


def convert_rows(
    rows: list[ReadRow], row_format: DataFormat, *, file: str, name: str, max_quarantined: float
) -> ChatDataset:
    """Convert rows that have been read, putting aside those that cannot be.

    Raises:
        UserError: the format is not recognised, or more than ``max_quarantined`` of the rows are unusable.
    """
    chosen = _recognise(rows, file) if row_format == "auto" else row_format
    records: list[ChatRecord] = []
    quarantined: list[Quarantined] = []
    lines_by_id: dict[str, int] = {}
    on_line: Counter[int] = Counter()  # `json.dump` without an indent puts all rows on line 1
    for row in rows:
        on_line[row.line] += 1
        place = f"{row.line}.{on_line[row.line]}" if on_line[row.line] > 1 else str(row.line)
        try:
            converted = convert_row(row.value, chosen)
            record_id = converted.id or f"{name}:{place}"
            if record_id in lines_by_id:
                raise NotConvertible(f"the id {record_id!r} is already taken by line {lines_by_id[record_id]}")
        except NotConvertible as error:
            quarantined.append(Quarantined(file=file, line=row.line, reason=str(error), excerpt=excerpt(row.value)))
            continue
        lines_by_id[record_id] = row.line
        source = converted.source or name
        if converted.source and chosen != "chat":
            source = f"{name}/{converted.source}"
        records.append(ChatRecord(id=record_id, source=source, messages=converted.messages, tools=converted.tools))
    check_share(quarantined, len(rows), file, chosen, max_quarantined)
    return ChatDataset(records=records, quarantined=quarantined)


def _recognise(rows: list[ReadRow], file: str) -> FormatName:
    columns = next((list(row.value) for row in rows if isinstance(row.value, dict)), None)
    if columns is None:
        raise UserError(
            f"{file}, line {rows[0].line}: the rows are no objects with columns: {excerpt(rows[0].value)}",
            hint=f"Each row must have the columns of one of these formats ({expected_columns()}).",
        )
    if (found := detect_format(columns)) is None:
        raise UserError(
            f"{file}: no known instruction format has the columns {', '.join(map(repr, columns))}.",
            hint=f"Rename the columns to those of one of these formats ({expected_columns()}).",
        )
    return found


def check_share(quarantined: list[Quarantined], rows: int, file: str, chosen: FormatName, limit: float) -> None:
    """Raise ``UserError`` if more than ``limit`` (0 to 1) of the rows, or all of them, are unusable."""
    if len(quarantined) <= limit * rows and len(quarantined) < rows:
        return
    first = quarantined[0]
    raise UserError(
        f"{file}: {len(quarantined)} of {rows} rows cannot be used as {chosen!r}, and at most {limit:.0%} may be. "
        f"The first is line {first.line}: {first.reason}: {first.excerpt}",
        hint="Repair the rows, name the right format, or raise data.max_quarantined_share if the rest will do.",
    )


def excerpt(value: object) -> str:
    """The beginning of a row, to recognise it by."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    # A lone surrogate, legal in JSON, could not be written to any file.
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= _EXCERPT_CHARACTERS else text[: _EXCERPT_CHARACTERS - 1] + "…"
