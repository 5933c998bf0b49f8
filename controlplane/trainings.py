"""How a registered version was trained, read from its adapter in the artifact store: three small JSON files."""

from __future__ import annotations

import json
from typing import Any

import fsspec

from controlplane.storage import active_storage
from controlplane.versions import Version
from tuneline.errors import TunelineError
from tuneline.training.record import TrainingRecord


def training_of(version: Version) -> TrainingRecord:
    """A version's training: its numbers, its curve, and what it came from.

    Raises:
        TunelineError: the adapter's files are gone or cannot be reached.
    """
    fs, folder = fsspec.url_to_fs(version.record.adapter.uri, **active_storage().options)

    def read(name: str) -> Any:
        try:
            return json.loads(fs.cat_file(f"{folder}/{name}"))
        except FileNotFoundError as error:
            raise TunelineError(
                f"{name} of {version.model!r} version {version.name} is not in {version.record.adapter.uri}",
                hint="It was deleted there, or belongs to the artifact store of another stack (--stack).",
            ) from error

    return TrainingRecord(
        name=f"version {version.name}",
        numbers=read("training.json"),
        curve=read("curve.json"),
        origin=read("origin.json") if fs.exists(f"{folder}/origin.json") else {},
    )
