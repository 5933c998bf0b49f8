"""Who may use an endpoint: one file per API key beside the releases, which holds the key's hash and never the key.

Creating a key is creating a file, exclusively, as with releases: two people who make keys at once cannot lose one, and
there is nothing to lock. A key is never deleted; revoking it rewrites its own file, which stays as a record.

``keys.json``, one list of all keys, is read too: endpoints had nothing else once, and it is easily written by hand.
A file of its own goes before an entry there with the same hash, and that is how such an entry is changed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import fsspec
from pydantic import BaseModel, ConfigDict, Field

from tuneline import paths
from tuneline.release.exclusive import create, replace

SCOPES = ("inference", "pin", "metrics", "feedback")
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"  # a file's name, and shorter than a hash, which names files too

# What tells one state of a file from another, in the words of local disks, S3 and GCS.
_MARKS = ("ETag", "etag", "generation", "LastModified", "mtime", "ino", "size")


class Key(BaseModel):
    """One API key.

    Attributes:
        id: what logs and metrics call it.
        name: what people call it.
        sha256: hash of the whole key, hex; the key itself is written down nowhere.
        scopes: what it opens: ``inference``, ``pin`` (choose the version), ``metrics``, ``feedback``.
        requests_per_minute: its own limit; None takes the release's.
        tokens_per_minute: prompt and answer, likewise.
        expires_at: from then on it is refused.
        revoked_at: since then it is refused.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: frozenset[str]
    created_at: datetime | None = None
    requests_per_minute: int | None = Field(default=None, gt=0)
    tokens_per_minute: int | None = Field(default=None, gt=0)
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def state(self, now: datetime | None = None) -> str:
        """``active``, ``revoked`` or ``expired``."""
        if self.revoked_at is not None:
            return "revoked"
        expires = self.expires_at
        if expires is None:
            return "active"
        expires = expires if expires.tzinfo is not None else expires.replace(tzinfo=UTC)
        return "expired" if expires <= (now or datetime.now(UTC)) else "active"


class _KeyList(BaseModel):
    keys: tuple[Key, ...]


class KeyStore:
    """The keys of one endpoint.

    Args:
        folder: fsspec URI or path of the endpoint's folder.
        storage_options: handed to fsspec (credentials, endpoint URL).

    Attributes:
        keys: by their hash, as of the last ``refresh``.
    """

    def __init__(self, folder: str, storage_options: dict[str, Any] | None = None) -> None:
        options = {"use_listings_cache": False} | (storage_options or {})
        self._fs, self._folder = fsspec.url_to_fs(paths.keys_folder(folder), **options)
        self._list = self._fs._strip_protocol(paths.keys_file(folder))
        self._seen: dict[str, tuple[object, tuple[Key, ...]]] = {}
        self.keys: dict[str, Key] = {}

    def refresh(self) -> list[str]:
        """Read what has changed.

        Returns:
            The files that cannot be read, with the reason; keys that were in them before stay as they were.

        Raises:
            OSError: the store does not answer; all keys stay as they were.
        """
        marks = {str(info["name"]): tuple(map(info.get, _MARKS)) for info in self._files()}
        changed = [path for path, mark in marks.items() if self._seen.get(path, (None,))[0] != mark]
        problems = []
        seen = {path: self._seen[path] for path in marks if path in self._seen}
        for path, text in self._contents(changed):
            try:
                if isinstance(text, Exception):
                    raise text
                keys = _KeyList.model_validate_json(text).keys if path == self._list else (_key(text),)
                seen[path] = (marks[path], keys)
            except FileNotFoundError:  # deleted since it was listed
                seen.pop(path, None)
            except (OSError, ValueError) as error:
                problems.append(f"{path}: {error}")
        if changed or seen.keys() != self._seen.keys():
            in_order = sorted(seen, key=lambda path: path != self._list)  # files of their own last, so that they win
            self.keys = {key.sha256: key for path in in_order for key in seen[path][1]}
        self._seen = seen
        return problems

    def create(self, key: Key) -> None:
        """Create a key's file under its name.

        Raises:
            FileExistsError: there is one of that name. Nothing was written.
        """
        create(self._fs, f"{self._folder}/{key.name}.json", _text(key))

    def write(self, key: Key) -> None:
        """Write a key where it is kept, or under its hash when it has no file of its own."""
        own = [path for path, (_, keys) in self._seen.items() if path != self._list and _has(keys, key)]
        replace(self._fs, own[0] if own else f"{self._folder}/{key.sha256}.json", _text(key))

    def _files(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        with contextlib.suppress(FileNotFoundError):
            found.append(self._fs.info(self._list))
        with contextlib.suppress(FileNotFoundError):
            found += [info for info in self._fs.ls(self._folder, detail=True) if str(info["name"]).endswith(".json")]
        return found

    def _contents(self, files: list[str]) -> list[tuple[str, bytes | Exception]]:
        # In one call, since s3fs and gcsfs fetch side by side; unlike `cat` it takes a `[` in a path for what it is.
        return list(zip(files, self._fs.cat_ranges(files, None, None, on_error="return"), strict=True)) if files else []


def _key(text: bytes) -> Key:
    return Key.model_validate_json(text)


def _has(keys: Iterable[Key], key: Key) -> bool:
    return any(found.sha256 == key.sha256 for found in keys)


def _text(key: Key) -> bytes:
    return key.model_dump_json(indent=2, exclude_none=True).encode()
