"""Where releases are kept: one file per sequence number in a folder of the artifact store.

Creating the next number is exclusive, so of two writers one wins and the other is told. That is
all the locking there is: no pointer file, no database, nothing a crash can leave half-moved.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import fsspec

from tuneline.errors import TunelineError
from tuneline.release.document import Release
from tuneline.release.exclusive import create, is_local

_FILE = re.compile(r"(\d{8})\.json$")


class ReleaseConflict(TunelineError):
    """Somebody else wrote this sequence number first. Nothing was written."""


class ReleaseStore:
    """The releases of one endpoint.

    Args:
        folder: any fsspec URI or path, e.g. ``s3://bucket/tuneline/endpoints/tiny/releases``.
        storage_options: handed to fsspec (keys, endpoint URL).
    """

    def __init__(self, folder: str, storage_options: dict[str, Any] | None = None) -> None:
        self.folder = folder
        self._fs, self._path = fsspec.url_to_fs(folder, use_listings_cache=False, **(storage_options or {}))

    def sequences(self) -> list[int]:
        """All sequence numbers, ascending."""
        try:
            if is_local(self._fs):
                names = os.listdir(self._path)
            else:
                names = self._fs.ls(self._path, detail=False, refresh=True)
        except FileNotFoundError:
            return []
        return sorted(int(match[1]) for name in names if (match := _FILE.search(str(name))))

    def read(self, sequence: int) -> Release:
        """Read one release.

        Raises:
            FileNotFoundError: there is none with this number.
            pydantic.ValidationError: the file is not a release.
        """
        return Release.model_validate_json(self._fs.cat_file(self._file(sequence)))

    def current(self) -> Release | None:
        """The release with the highest number, or None before the first."""
        sequences = self.sequences()
        return self.read(sequences[-1]) if sequences else None

    def history(self) -> list[Release]:
        """All releases, oldest first."""
        return [self.read(sequence) for sequence in self.sequences()]

    def append(self, make: Callable[[int, Release | None], Release]) -> Release:
        """Write the next release, made from the next number and the current release.

        Raises:
            ReleaseConflict: another writer was faster.
        """
        current = self.current()
        release = make(current.sequence + 1 if current else 1, current)
        self.create(release)
        return release

    def create(self, release: Release) -> None:
        """Create the file of ``release.sequence``, whole or not at all.

        Raises:
            ReleaseConflict: that number exists.
        """
        # Gateways from before there were trials refuse what they do not know; without one they need not see it.
        data = release.model_dump_json(indent=2, exclude={"trial"} if release.trial is None else None).encode()
        try:
            create(self._fs, self._file(release.sequence), data)
        except FileExistsError:
            raise ReleaseConflict(
                f"release {release.sequence} of endpoint {release.endpoint!r} was written by somebody else just now",
                hint="Nothing was changed. Look at it with `python run.py models`, then run the command again.",
            ) from None

    def _file(self, sequence: int) -> str:
        return f"{self._path.rstrip('/')}/{sequence:08d}.json"
