"""Where the states of one training are kept: complete or not there, on a disk and in a bucket.

Every state is a folder with a ``manifest.json`` that names the job and the SHA-256 of each file. On a disk the folder
is written aside and renamed; in a bucket, which cannot rename, the manifest is written last. So whoever is killed
while writing leaves nothing that could be taken for a checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fsspec

from tuneline.errors import TunelineError
from tuneline.release.exclusive import is_local, replace

FINISHED = "finished"
_MANIFEST = "manifest.json"
_STEP = re.compile(r"step-(\d{8})$")
_PART = ".part-"


class Unusable(TunelineError):
    """A checkpoint that is incomplete, damaged or another job's. It is left as it is."""


def step_name(step: int) -> str:
    """The name of the state after ``step`` optimizer steps."""
    return f"step-{step:08d}"


class CheckpointStore:
    """The states of one training.

    Args:
        folder: path or fsspec URI.
        options: fsspec's storage options; they hold credentials.
        job: fingerprint of the job, see ``job_fingerprint``.
    """

    def __init__(self, folder: str, options: Mapping[str, Any], job: str) -> None:
        self.folder = folder
        self._fs, path = fsspec.url_to_fs(folder, use_listings_cache=False, **options)
        self._root = str(path).rstrip("/")
        self.job = job

    def put(self, source: Path, name: str) -> None:
        """Put a local folder into the store under a name, whole or not at all; one of that name is replaced.

        Raises:
            OSError: there is no room, or the store cannot be reached.
        """
        files = {str(path.relative_to(source)): path for path in sorted(source.rglob("*")) if path.is_file()}
        manifest = {"job": self.job, "files": {name: _sha256(path) for name, path in files.items()}}
        text = json.dumps(manifest, indent=2).encode()
        if is_local(self._fs):
            self._put_local(source, name, text)
            return
        self.remove(name)  # or its manifest would vouch for files that are half replaced
        for inside, path in files.items():
            self._fs.put_file(str(path), f"{self._root}/{name}/{inside}")
        replace(self._fs, f"{self._root}/{name}/{_MANIFEST}", text)

    def _put_local(self, source: Path, name: str, manifest: bytes) -> None:
        root = Path(self._root)
        root.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=root, prefix=_PART))
        try:
            shutil.copytree(source, part / name)
            (part / name / _MANIFEST).write_bytes(manifest)
            if (root / name).exists():
                os.rename(root / name, part / "before")
            os.rename(part / name, root / name)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def steps(self) -> list[int]:
        """Steps that there are states of, complete or not, newest first.

        Raises:
            OSError: the store cannot be reached.
        """
        found = (_STEP.search(str(path).rstrip("/")) for path in self._names())
        return sorted((int(match[1]) for match in found if match), reverse=True)

    def get(self, name: str, target: Path) -> None:
        """Bring a state to a local folder and check it.

        Raises:
            FileNotFoundError: there is none of this name.
            Unusable: it is incomplete, damaged or of another job. Nothing is left in ``target``.
        """
        place = f"{self._root}/{name}"
        if not self._fs.exists(place):
            raise FileNotFoundError(place)
        try:
            manifest = json.loads(self._fs.cat_file(f"{place}/{_MANIFEST}"))
            job, files = str(manifest["job"]), dict(manifest["files"])
        except FileNotFoundError:
            raise Unusable(f"{name} is incomplete: it has no manifest") from None
        except (ValueError, KeyError, TypeError) as error:
            raise Unusable(f"{name} is damaged: its manifest cannot be read") from error
        if job != self.job:
            raise Unusable(f"{name} belongs to another job: config, data, base model or software differ")
        try:
            for inside, sha256 in files.items():
                (target / inside).parent.mkdir(parents=True, exist_ok=True)
                self._fs.get_file(f"{place}/{inside}", str(target / inside))
                if _sha256(target / inside) != sha256:
                    raise Unusable(f"{name} is damaged: {inside} is not what was saved")
        except FileNotFoundError as error:
            shutil.rmtree(target, ignore_errors=True)
            raise Unusable(f"{name} is damaged: a file is missing") from error
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise

    def keep_newest(self, count: int) -> None:
        """Remove all but the newest states, and what killed processes left half-written."""
        for step in self.steps()[count:]:
            self.remove(step_name(step))
        for path in self._names():
            if path.rstrip("/").rpartition("/")[2].startswith(_PART):
                self._fs.rm(path, recursive=True)

    def remove(self, name: str) -> None:
        """Remove one state; nothing happens if there is none."""
        place = f"{self._root}/{name}"
        if self._fs.exists(place):
            if self._fs.exists(f"{place}/{_MANIFEST}"):
                self._fs.rm_file(f"{place}/{_MANIFEST}")  # first, so that half a removal is no checkpoint
            if self._fs.exists(place):  # in a bucket a folder ends with its last file
                self._fs.rm(place, recursive=True)

    def note(self, name: str, document: Mapping[str, Any]) -> str:
        """Write a JSON file beside the states and return where it is."""
        place = f"{self._root}/{name}"
        replace(self._fs, place, json.dumps(document, indent=2, ensure_ascii=False).encode())
        return f"{self.folder.rstrip('/')}/{name}"

    def _names(self) -> list[str]:
        try:
            return [str(path) for path in self._fs.ls(self._root, detail=False)]
        except FileNotFoundError:
            return []


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
