"""Where a search is remembered: one JSON document for each trial, in a folder of the artifact store.

Optuna's own storages are a database, or a journal file that needs locks which a bucket does not have. Here every
document has one writer, its trial, so a disk and a bucket do alike; the study is made anew from the documents.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import fsspec

from tuneline.release.exclusive import replace
from tuneline.search.trial import Trial


class TrialStore:
    """The trials of one search.

    Args:
        folder: any fsspec URI or path.
        storage_options: handed to fsspec (keys, endpoint URL).
    """

    def __init__(self, folder: str, storage_options: Mapping[str, Any] | None = None) -> None:
        self.folder = folder.rstrip("/")
        self.storage_options = dict(storage_options or {})
        self._fs, self._path = fsspec.url_to_fs(self.folder, use_listings_cache=False, **self.storage_options)

    def trials(self) -> list[Trial]:
        """All trials that were begun, by number."""
        found = self._fs.glob(f"{self._path}/trials/*.json")
        return sorted((Trial.model_validate_json(self._fs.cat_file(path)) for path in found), key=lambda t: t.number)

    def write(self, trial: Trial) -> None:
        """Write a trial, whole, in the place of what it was."""
        replace(self._fs, f"{self._path}/trials/{trial.number:04d}.json", trial.model_dump_json(indent=2).encode())

    def forget_checkpoints(self, trial: Trial) -> Trial:
        """Remove a trial's checkpoints; the trial without them, which is written too."""
        if not trial.checkpoints:
            return trial
        with suppress(FileNotFoundError):
            self._fs.rm(self._fs._strip_protocol(trial.checkpoints), recursive=True)
        without = trial.model_copy(update={"checkpoints": ""})
        self.write(without)
        return without

    def note(self, name: str) -> str:
        """A line that was kept under a name; empty if there is none."""
        with suppress(FileNotFoundError):
            text: bytes = self._fs.cat_file(f"{self._path}/{name}")
            return text.decode()
        return ""

    def keep_note(self, name: str, line: str) -> None:
        """Keep a line under a name."""
        replace(self._fs, f"{self._path}/{name}", line.encode())

    def clear(self) -> None:
        """Forget the whole search."""
        with suppress(FileNotFoundError):
            self._fs.rm(self._path, recursive=True)
