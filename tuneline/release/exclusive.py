"""Files that appear whole or not at all, on a disk and in a bucket; and only once, where that is what matters."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import Any

from fsspec.implementations.local import LocalFileSystem


def create(fs: Any, path: str, data: bytes) -> None:
    """Create a file on an fsspec file system.

    Raises:
        FileExistsError: it is there already. Nothing was written.
    """
    if is_local(fs):
        _put_in_place(path, data, os.link)  # link() is exclusive where rename() would overwrite
    else:
        fs.pipe_file(path, data, mode="create")  # s3fs and gcsfs turn this into a conditional put


def replace(fs: Any, path: str, data: bytes) -> None:
    """Write a file on an fsspec file system, in the place of the one that is there."""
    if is_local(fs):
        _put_in_place(path, data, os.replace)
    else:
        fs.pipe_file(path, data)


def is_local(fs: Any) -> bool:
    """Whether an fsspec file system is this machine's disk."""
    return isinstance(fs, LocalFileSystem)


def _put_in_place(path: str, data: bytes, put: Callable[[str, str], None]) -> None:
    # Written aside first: a reader never sees half a file.
    folder = os.path.dirname(path)
    os.makedirs(folder, exist_ok=True)
    descriptor, part = tempfile.mkstemp(dir=folder, suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o644)
        put(part, path)
    finally:
        if os.path.exists(part):
            os.unlink(part)
