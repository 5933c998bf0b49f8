"""The files in which an endpoint keeps its feedback: JSON lines, in files that are added and never changed."""

from __future__ import annotations

import hashlib
from typing import Any

import fsspec

from tuneline import paths
from tuneline.errors import UserError


def feedback_files(folder: str) -> tuple[Any, list[str]]:
    """The files below an endpoint's folder, oldest first, for their names begin with the time.

    Returns:
        The file system, and their paths in it; none if there is no such folder.

    Raises:
        UserError: the folder cannot be looked into.
    """
    try:
        fs, path = fsspec.url_to_fs(folder, use_listings_cache=False)
        found = fs.ls(paths.feedback_folder(path), detail=False)
    except FileNotFoundError:
        return fs, []
    except Exception as error:  # storage clients raise what they like
        raise unreadable(folder, error) from error
    return fs, sorted(name for name in map(str, found) if name.endswith(".jsonl"))


def unreadable(folder: str, error: Exception) -> UserError:
    """What to tell when the storage does not answer as it should."""
    return UserError(
        f"The feedback in {folder} cannot be read: {error}",
        hint="Check the address, and that this machine has the credentials for it in its environment.",
    )


def feedback_fingerprint(folder: str) -> str:
    """SHA-256, hex, of which files there are. They never change, so their names say what is in them."""
    _, files = feedback_files(folder)
    return hashlib.sha256("\n".join(name.rpartition("/")[2] for name in files).encode()).hexdigest()
