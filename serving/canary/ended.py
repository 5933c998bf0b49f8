"""The end of a canary that is not written for all yet, kept where a restart of this gateway finds it again."""

from __future__ import annotations

import logging
from pathlib import Path

from fsspec.implementations.local import LocalFileSystem
from pydantic import BaseModel, ConfigDict, ValidationError

from serving.canary.judge import Reason
from tuneline.release import Release
from tuneline.release.exclusive import replace

logger = logging.getLogger(__name__)


class End(BaseModel):
    """The end of one release's canary.

    Attributes:
        judged: the release.
        bound: which of its bounds the challenger broke.
        reason: for people, with the numbers.
    """

    model_config = ConfigDict(frozen=True)

    judged: Release
    bound: Reason
    reason: str


class UnwrittenEnd:
    """A file in the endpoint's working directory; without one there is nothing to be written."""

    def __init__(self, workdir: Path) -> None:
        self._path = workdir / "ended-canary.json"

    def read(self) -> End | None:
        """The end that an earlier life of this gateway could not write."""
        try:
            return End.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:  # the canary is judged again, which takes some answers
            logger.error("%s cannot be read, and the canary that it ended begins again: %s", self._path, error)
            return None

    def keep(self, end: End) -> None:
        """Write the file."""
        try:
            replace(LocalFileSystem(), str(self._path), end.model_dump_json().encode())
        except OSError as error:
            logger.error("%s cannot be written, and a restart would begin the canary again: %s", self._path, error)

    def forget(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)
