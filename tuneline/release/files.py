"""Model files on their way from the artifact store to the engine: fetched, checked, kept by their hash."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import fsspec

from tuneline.errors import TunelineError

# All that an engine needs of a LoRA adapter. Nothing else in the folder is ever fetched.
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


class FingerprintMismatch(TunelineError):
    """The files are not the ones that the release names."""


def fingerprint(folder: Path, names: Iterable[str] | None = None) -> str:
    """SHA-256 over names and contents of a folder's files (all of them unless ``names`` are given), hex.

    Raises:
        FileNotFoundError: a named file is missing.
    """
    files = (
        sorted(names)
        if names is not None
        else sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    )
    total = hashlib.sha256()
    for name in files:
        with (folder / name).open("rb") as file:
            total.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()


def fetch(
    uri: str,
    sha256: str,
    cache: Path,
    names: Iterable[str] | None = None,
    storage_options: dict[str, Any] | None = None,
) -> Path:
    """Bring a folder's files to ``cache/<sha256>`` and check them; at once when they are there already.

    Raises:
        FileNotFoundError: the folder or one of the named files does not exist.
        FingerprintMismatch: the files' fingerprint is not ``sha256``. Nothing is kept.
    """
    target = cache / sha256
    if target.is_dir():
        return target
    fs, path = fsspec.url_to_fs(uri, **(storage_options or {}))
    root = path.rstrip("/")
    wanted = list(names) if names is not None else [str(f)[len(root) + 1 :] for f in fs.find(root)]
    if not wanted:
        raise FileNotFoundError(f"there are no files in {uri}")
    cache.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=cache, prefix=f"{sha256[:12]}-"))
    try:
        for name in wanted:
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            fs.get_file(f"{root}/{name}", str(part / name))
        found = fingerprint(part, wanted)
        if found != sha256:
            raise FingerprintMismatch(
                f"{uri} has fingerprint {found}, but the release names {sha256}",
                hint="The files were changed after they were evaluated. Restore them, or train the version again.",
            )
        try:
            os.rename(part, target)
        except OSError:  # another process brought the same files meanwhile
            if not target.is_dir():
                raise
        return target
    finally:
        shutil.rmtree(part, ignore_errors=True)
