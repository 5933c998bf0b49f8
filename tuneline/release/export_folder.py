"""A folder handed out to others: whole or not there, written once, and never in the place of somebody's own files."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from tuneline.errors import UserError
from tuneline.release.files import fingerprint

MARKER = "tuneline-export.json"  # says what the folder holds, and that it is ours to replace


def write_export(output: Path, about: Mapping[str, str], write: Callable[[Path], None]) -> bool:
    """Fill a folder beside its place and move it there when it is complete.

    Args:
        output: missing, empty, or an earlier export, which is replaced.
        about: what it holds; goes into the marker file with the files' fingerprint.
        write: is given an empty folder.

    Returns:
        False if the same is there already, unchanged.

    Raises:
        UserError: ``output`` has files that no export wrote.
    """
    if output.is_file():
        raise UserError(f"--output {output} is a file", hint="Give a folder that is missing or empty.")
    if output.is_dir() and any(output.iterdir()):
        if not (output / MARKER).is_file():
            raise UserError(
                f"--output {output} has files in it that no export wrote",
                hint="Give a folder that is missing or empty; nothing was changed.",
            )
        if json.loads((output / MARKER).read_text()) == {**about, "sha256": _sha256(output)}:
            return False
    output.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}-"))
    try:
        new = part / "new"
        new.mkdir()
        write(new)
        (new / MARKER).write_text(json.dumps({**about, "sha256": _sha256(new)}, indent=2))
        if output.is_dir():
            os.rename(output, part / "old")
        os.rename(new, output)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return True


def _sha256(folder: Path) -> str:
    names = (str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    return fingerprint(folder, [name for name in names if name != MARKER])
