"""Who may ask for what: the endpoint's keys, kept as hashes beside its releases and read again when they change."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from typing import Literal

from serving.gateway.errors import ApiError
from tuneline.release.keys import Key, KeyStore

logger = logging.getLogger(__name__)

Scope = Literal["inference", "pin", "metrics", "feedback"]

_POLL_SECONDS = 1.0  # how long a revoked key may go on


class KeyRing:
    """The keys of an endpoint's folder. Without any, nobody gets in.

    Attributes:
        error: why keys, or changes of keys, could not be read; those known before are used meanwhile.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._store: KeyStore | None = None
        self.error: str | None = None

    async def follow(self) -> None:
        """Read the keys again and again until cancelled. Apart from the releases: an engine takes a minute to start."""
        while True:
            error = await asyncio.to_thread(self._refresh)
            if error is not None and error != self.error:
                logger.error("%s", error)
            self.error = error
            await asyncio.sleep(_POLL_SECONDS)

    def knows(self, authorization: str | None) -> bool:
        """Whether a request comes with any good key."""
        try:
            return self._key(authorization).state() == "active"
        except ApiError:
            return False

    def check(self, authorization: str | None, scope: Scope) -> Key:
        """The key of a request that needs ``scope``.

        Raises:
            ApiError: 401 without a key that is good, 403 when the key may not do this.
        """
        key = self._key(authorization)
        require(key, scope)
        return key

    def _key(self, authorization: str | None) -> Key:
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise ApiError(
                401, "No API key was given. Send it as `Authorization: Bearer tl-...`.", code="missing_api_key"
            )
        digest = hashlib.sha256(token.strip().encode()).hexdigest()
        # A look-up that takes longer the more of the digest fits gives nothing away: nobody can choose what their
        # guess hashes to, and to know a digest's beginning is not to know a key of 256 random bits.
        key = self._store.keys.get(digest) if self._store is not None else None
        if key is None:
            raise ApiError(401, "This API key is not known to the endpoint.", code="invalid_api_key")
        if (state := key.state()) != "active":
            raise ApiError(401, f"Key {key.id} is {state}.", code=f"{state}_api_key")
        return key

    def _refresh(self) -> str | None:
        try:
            if self._store is None:
                self._store = KeyStore(self._folder)
            problems = self._store.refresh()
        except Exception as error:  # noqa: BLE001 - storage clients raise what they like
            return f"the keys could not be read: {error}"
        return f"keys could not be read: {'; '.join(problems)}" if problems else None


def require(key: Key, scope: Scope) -> None:
    """Raise ``ApiError`` 403 unless ``key`` has ``scope``."""
    if scope not in key.scopes:
        raise ApiError(
            403, f"Key {key.id} lacks the scope {scope!r}; it has {sorted(key.scopes)}.", code="insufficient_scope"
        )
