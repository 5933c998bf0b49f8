"""The chat data set: checked records beside everything that could not be converted, and why."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from tuneline.data.records import ChatRecord

RECORDS_FILE = "records.jsonl"
QUARANTINE_FILE = "quarantine.jsonl"


class Quarantined(BaseModel):
    """A row that could not be converted.

    Attributes:
        file: the file or hub data set it stands in.
        line: its line (its row number in Parquet files and hub data sets), counted from 1; None if that is unknown.
        reason: what is wrong with it.
        excerpt: its beginning, to recognise it by.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    line: int | None
    reason: str
    excerpt: str


class DatasetSummary(BaseModel):
    """A data set in a few numbers, for logs and cards. ``sources`` counts records, most frequent first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    records: int
    quarantined: int
    sources: dict[str, int]
    fingerprint: str


class ChatDataset(BaseModel):
    """Records to train on or to be evaluated on, and the rows that were left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    records: list[ChatRecord]
    quarantined: list[Quarantined] = Field(default_factory=list)

    def __len__(self) -> int:
        """The number of records."""
        return len(self.records)

    def fingerprint(self) -> str:
        """SHA-256 over the records in their order, hex. Equal data has equal fingerprints, wherever it came from."""
        total = hashlib.sha256()
        for record in self.records:
            line = json.dumps(record.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
            total.update(line.encode("utf-8", "surrogatepass") + b"\n")
        return total.hexdigest()

    def summary(self) -> DatasetSummary:
        """Count records, quarantined rows and sources."""
        sources = Counter(record.source for record in self.records)
        return DatasetSummary(
            records=len(self.records),
            quarantined=len(self.quarantined),
            sources=dict(sources.most_common()),
            fingerprint=self.fingerprint(),
        )

    def save(self, folder: Path) -> None:
        """Write ``records.jsonl`` and ``quarantine.jsonl`` into a folder, making it if needed."""
        folder.mkdir(parents=True, exist_ok=True)
        _write_lines(folder / RECORDS_FILE, self.records)
        _write_lines(folder / QUARANTINE_FILE, self.quarantined)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            FileNotFoundError: the folder does not hold a saved data set.
            pydantic.ValidationError: a line is not a record.
        """
        return cls(
            records=[ChatRecord.model_validate_json(line) for line in _read_lines(folder / RECORDS_FILE)],
            quarantined=[Quarantined.model_validate_json(line) for line in _read_lines(folder / QUARANTINE_FILE)],
        )


def combine(datasets: Iterable[ChatDataset]) -> ChatDataset:
    """Put data sets one after the other. A record whose id is already taken gets ``~2``, ``~3`` … appended."""
    records: list[ChatRecord] = []
    quarantined: list[Quarantined] = []
    taken: set[str] = set()
    for dataset in datasets:
        quarantined += dataset.quarantined
        for record in dataset.records:
            free, copy = record.id, 1
            while free in taken:
                copy += 1
                free = f"{record.id}~{copy}"
            taken.add(free)
            records.append(record if free == record.id else record.model_copy(update={"id": free}))
    return ChatDataset(records=records, quarantined=quarantined)


def _write_lines(path: Path, rows: Iterable[BaseModel]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(row.model_dump_json(exclude_defaults=True) + "\n")


def _read_lines(path: Path) -> list[str]:
    # Not splitlines(): a record may hold U+2028 and its kin, which JSON leaves as they are.
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line]
