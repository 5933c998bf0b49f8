"""Folders for what a step makes before the artifact store has it."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path


def scratch_folder(what: str) -> Path:
    """An empty folder that lasts as long as the process: the materializer copies out of it after the step has ended."""
    folder = Path(tempfile.mkdtemp(prefix=f"tuneline-{what}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
