"""Who may ask for what: keys are kept as hashes in the endpoint's folder and read again when they change."""

from __future__ import annotations

import hashlib
import hmac
from typing import Literal

import fsspec
from pydantic import BaseModel, ConfigDict, Field

from serving.gateway.errors import ApiError

Scope = Literal["inference", "pin", "metrics"]


class Key(BaseModel):
    """One key. ``sha256`` is the hash of the whole key, hex; the key itself is written down nowhere."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: frozenset[str]


class _KeyFile(BaseModel):
    keys: tuple[Key, ...]


class KeyRing:
    """The keys of ``<folder>/keys.json``. Without that file there are none, and nobody gets in."""

    def __init__(self, folder: str) -> None:
        self._fs, path = fsspec.url_to_fs(folder, use_listings_cache=False)
        self._path = f"{path.rstrip('/')}/keys.json"
        self._keys: tuple[Key, ...] = ()
        self._text: bytes | None = None

    def reload(self) -> None:
        """Read the file again; the keys stay as they were when it cannot be read.

        Raises:
            OSError: the store does not answer.
            pydantic.ValidationError: the file is not a key file.
        """
        try:
            text: bytes | None = self._fs.cat_file(self._path)
        except FileNotFoundError:
            text = None
        if text != self._text:
            self._keys = _KeyFile.model_validate_json(text).keys if text is not None else ()
            self._text = text

    def check(self, authorization: str | None, scope: Scope) -> Key:
        """The key of a request that needs ``scope``.

        Raises:
            ApiError: 401 without a known key, 403 when the key may not do this.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise ApiError(
                401, "No API key was given. Send it as `Authorization: Bearer tl-...`.", code="missing_api_key"
            )
        digest = hashlib.sha256(token.strip().encode()).hexdigest()
        # every key is compared, so that the time taken says nothing about which one matched
        matches = [key for key in self._keys if hmac.compare_digest(key.sha256, digest)]
        if not matches:
            raise ApiError(401, "This API key is not known to the endpoint.", code="invalid_api_key")
        require(matches[0], scope)
        return matches[0]


def require(key: Key, scope: Scope) -> None:
    """Raise ``ApiError`` 403 unless ``key`` has ``scope``."""
    if scope not in key.scopes:
        raise ApiError(
            403, f"Key {key.id} lacks the scope {scope!r}; it has {sorted(key.scopes)}.", code="insufficient_scope"
        )
