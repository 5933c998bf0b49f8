"""Rows of a data file, each with the line it starts on, so that every complaint can name its place."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tuneline.errors import UserError


@dataclass(frozen=True)
class ReadRow:
    """A row as the file has it; ``line`` is the line it starts on (in Parquet files: the row's number), from 1."""

    line: int
    value: object


def read_rows(path: Path, limit: int | None = None) -> list[ReadRow]:
    """Read the rows of a ``.json``, ``.jsonl``, ``.ndjson``, ``.csv``, ``.tsv`` or ``.parquet`` file.

    A ``.json`` file may hold a list, or JSON Lines under the wrong name, which is common.

    Raises:
        UserError: the file is missing, no file, of unknown kind, empty, not UTF-8, or broken.
    """
    if not path.exists():
        raise UserError(
            f"The data file {str(path)!r} does not exist (looked in {path.absolute().parent}).",
            hint="Check the path; relative paths start at the directory that the command runs in.",
        )
    if path.is_dir():
        raise UserError(f"The data file {str(path)!r} is a directory.", hint="Name one file in it.")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(
            f"The data file {str(path)!r} ends in {path.suffix!r}, which is no kind this reads.",
            hint=f"Give one that ends in {', '.join(_READERS)}.",
        )
    try:
        rows = reader(path, limit) if path.stat().st_size else []
    except OSError as error:
        raise UserError(
            f"The data file {str(path)!r} cannot be read: {error}.", hint="Check its permissions."
        ) from error
    if not rows:
        raise UserError(f"The data file {str(path)!r} has no rows.", hint="Give a file with at least one row.")
    return rows


def _read_json(path: Path, limit: int | None) -> list[ReadRow]:
    text = read_text(path)
    start = _skip_blank(text, 0)
    if start == len(text):
        return []
    if text[start] == "[":
        return _json_list(text, start, path, limit)
    try:
        value, end = json.JSONDecoder().raw_decode(text, start)
    except json.JSONDecodeError as error:
        raise _broken(path, text, error) from None
    if _skip_blank(text, end) < len(text):
        return _json_lines(text, path, limit)  # a second value follows: JSON Lines
    keys = f" with the keys {', '.join(map(repr, value))}" if isinstance(value, dict) else ""
    raise UserError(
        f"{path}: the file holds one JSON {_KIND.get(type(value), 'value')}{keys}, not a list of rows.",
        hint="Put the rows into a list, [{…}, {…}], or write one object per line (.jsonl).",
    )


def _json_list(text: str, start: int, path: Path, limit: int | None) -> list[ReadRow]:
    """Read a list element by element: ``json.loads`` would not say on which line an element starts."""
    decoder = json.JSONDecoder()
    rows: list[ReadRow] = []
    position, line, counted = start + 1, 1, 0
    while True:
        position = _skip_blank(text, position)
        if text[position : position + 1] == "]" and not rows:
            break
        if limit is not None and len(rows) == limit:
            return rows
        line, counted = line + text.count("\n", counted, position), position
        try:
            value, position = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            raise _broken(path, text, error) from None
        rows.append(ReadRow(line, value))
        position = _skip_blank(text, position)
        match text[position : position + 1]:
            case ",":
                position += 1
            case "]":
                break
            case _:
                raise _broken(
                    path, text, json.JSONDecodeError("Expecting ',' or the end of the list ']'", text, position)
                )
    if (rest := _skip_blank(text, position + 1)) < len(text):
        raise _broken(path, text, json.JSONDecodeError("Nothing may follow the list", text, rest))
    return rows


def _read_json_lines(path: Path, limit: int | None) -> list[ReadRow]:
    return _json_lines(read_text(path), path, limit)


def _json_lines(text: str, path: Path, limit: int | None) -> list[ReadRow]:
    if text.lstrip()[:1] == "[":
        raise UserError(
            f"{path}: the file is one JSON list, but its name says one object per line.",
            hint="Rename it to end in .json.",
        )
    rows: list[ReadRow] = []
    for number, line in enumerate(text.split("\n"), 1):
        if limit is not None and len(rows) == limit:
            break
        if not line.strip():
            continue
        try:
            rows.append(ReadRow(number, json.loads(line)))
        except json.JSONDecodeError as error:
            raise UserError(
                f"{path}, line {number}, column {error.colno}: broken JSON ({error.msg}): {_around(line, error.pos)}",
                hint="Repair or delete that line; every line must be one whole JSON object.",
            ) from None
    return rows


def _read_csv(path: Path, limit: int | None) -> list[ReadRow]:
    csv.field_size_limit(2**31 - 1)  # answers may be longer than the default of 128 KiB
    dialect: type[csv.Dialect] = csv.excel_tab if path.suffix.lower() == ".tsv" else csv.excel
    reader = csv.reader(io.StringIO(read_text(path), newline=""), dialect, strict=True)
    rows: list[ReadRow] = []
    header: list[str] | None = None
    try:
        start = 1
        for cells in reader:
            if header is None:
                header = [name.strip() for name in cells]
            elif cells and (limit is None or len(rows) < limit):
                if len(cells) != len(header):
                    raise UserError(
                        f"{path}, line {start}: {len(cells)} cells, but the header has {len(header)} columns "
                        f"({', '.join(header)}).",
                        hint="Put cells that contain commas or line breaks into double quotes.",
                    )
                rows.append(ReadRow(start, dict(zip(header, cells, strict=True))))
            start = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{path}, line {reader.line_num}: broken CSV ({error}).", hint="Check the quotes around that cell."
        ) from None
    return rows


def _read_parquet(path: Path, limit: int | None) -> list[ReadRow]:
    import pyarrow as arrow  # type: ignore[import-untyped]
    import pyarrow.parquet as parquet  # type: ignore[import-untyped]

    try:
        table = parquet.read_table(path)
    except arrow.ArrowInvalid as error:
        raise UserError(f"{path}: not a readable Parquet file ({error}).", hint="Write the file again.") from error
    rows = table.slice(0, limit).to_pylist()
    return [ReadRow(number, row) for number, row in enumerate(rows, 1)]


_READERS: dict[str, Callable[[Path, int | None], list[ReadRow]]] = {
    ".json": _read_json,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".parquet": _read_parquet,
}
_KIND = {dict: "object", str: "text", int: "number", float: "number", bool: "true/false value"}


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, without a byte order mark.

    Raises:
        UserError: it is not UTF-8; the message names the line.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")  # Excel and PowerShell put a byte order mark in front
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}, line {line}: byte 0x{error.object[error.start]:02x} is not UTF-8.", hint="Save the file as UTF-8."
        ) from None


def _skip_blank(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position


def _broken(path: Path, text: str, error: json.JSONDecodeError) -> UserError:
    where = f"{path}, line {error.lineno}, column {error.colno}"
    hint = "Repair the file there."
    if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
        hint = "The file seems to end too early: it may not have been downloaded or written whole."
    return UserError(f"{where}: broken JSON ({error.msg}): {_around(text, error.pos)}", hint=hint)


def _around(text: str, position: int) -> str:
    piece = text[max(0, position - 40) : position + 40].replace("\n", "⏎")
    return f"…{piece}…"
