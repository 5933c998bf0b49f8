"""API keys: the first is made at the first deployment and kept in ZenML's secret store, others by hand and shown once.

Only their hashes stand beside the releases (``tuneline.release.keys``).
"""

from __future__ import annotations

import difflib
import hashlib
import re
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from zenml.client import Client

from controlplane.storage import Storage
from tuneline.errors import UserError
from tuneline.release.keys import NAME, SCOPES, Key, KeyStore


def secret_name(endpoint: str) -> str:
    """The ZenML secret that holds an endpoint's first key."""
    return f"tuneline-{endpoint}-key"


def read_key(endpoint: str) -> str:
    """The key that the commands use.

    Raises:
        UserError: there is none yet.
    """
    key = _stored_key(endpoint)
    if key is None:
        raise UserError(
            f"endpoint {endpoint!r} has no API key yet (ZenML secret {secret_name(endpoint)!r} does not exist)",
            hint="`python run.py deploy` makes it at the first deployment.",
        )
    return key


def ensure_key(endpoint: str, storage: Storage) -> str:
    """The key that the commands use, made now if there is none or it was revoked.

    It has every scope, one that came later too; its hash stands beside the releases afterwards.
    """
    store = KeyStore(storage.endpoint_folder(endpoint), storage.options)
    store.refresh()  # whatever else cannot be read is the gateway's to report
    key = _stored_key(endpoint)
    entry = store.keys.get(_digest(key)) if key is not None else None
    if key is None or (entry is not None and entry.state() != "active"):
        key, entry = _new_key(), None
        _keep(endpoint, key)
    if entry is None:
        store.write(_entry(key, "default", SCOPES))
    elif not entry.scopes.issuperset(SCOPES):
        store.write(entry.model_copy(update={"scopes": entry.scopes | set(SCOPES)}))
    return key


def list_keys(endpoint: str, storage: Storage) -> list[Key]:
    """All keys of an endpoint, those that are refused by now too, oldest first.

    Raises:
        UserError: a key's file cannot be read.
    """
    return _sorted(_read(endpoint, storage))


def create_key(
    endpoint: str,
    storage: Storage,
    name: str,
    scopes: Sequence[str],
    *,
    requests_per_minute: int | None = None,
    tokens_per_minute: int | None = None,
    expires_in: timedelta | None = None,
) -> tuple[str, Key]:
    """Make a key.

    Returns:
        The key, which is kept nowhere, and what is written down of it.

    Raises:
        UserError: the name is taken or no name, or a scope is none.
    """
    if not re.match(NAME, name):
        raise UserError(
            f"{name!r} cannot be a key's name",
            hint="Use letters, digits, `.`, `_` and `-`, 63 at most, e.g. web-app.",
        )
    for scope in scopes:
        if scope not in SCOPES:
            near = difflib.get_close_matches(scope, SCOPES, n=1)
            did = f"Did you mean {near[0]!r}? " if near else ""
            raise UserError(f"there is no scope {scope!r}", hint=f"{did}Scopes are {', '.join(SCOPES)}.")
    if not scopes:
        raise UserError(f"key {name!r} would open nothing", hint=f"Give at least one --scope: {', '.join(SCOPES)}.")
    store = _read(endpoint, storage)
    key = _new_key()
    entry = _entry(key, name, scopes).model_copy(
        update={
            "requests_per_minute": requests_per_minute,
            "tokens_per_minute": tokens_per_minute,
            "expires_at": None if expires_in is None else _now() + expires_in,
        }
    )
    try:
        if any(known.name == name for known in store.keys.values()):
            raise FileExistsError
        store.create(entry)
    except FileExistsError:
        raise UserError(
            f"endpoint {endpoint!r} has a key called {name!r} already; nothing was changed",
            hint="A name stays with its key, revoked ones too: choose another, `python run.py keys list` shows them.",
        ) from None
    return key, entry


def revoke_key(endpoint: str, storage: Storage, which: str, *, force: bool = False) -> Key:
    """Revoke a key by its id or name; it stays as a record. Revoking it again changes nothing.

    Raises:
        UserError: there is no such key, several have that name, or the commands use it and ``force`` is not set.
    """
    store = _read(endpoint, storage)
    found = [key for key in store.keys.values() if key.id == which] or [
        key for key in store.keys.values() if key.name == which
    ]
    if not found:
        names = sorted({word for key in store.keys.values() for word in (key.id, key.name)})
        near = difflib.get_close_matches(which, names, n=1)
        did = f"Did you mean {near[0]!r}? " if near else ""
        raise UserError(
            f"endpoint {endpoint!r} has no key {which!r}", hint=f"{did}`python run.py keys list` shows all of them."
        )
    if len(found) > 1:
        raise UserError(
            f"{len(found)} keys are called {which!r}", hint=f"Say which by its id: {', '.join(k.id for k in found)}."
        )
    key = found[0]
    if key.revoked_at is not None:
        return key
    own = _stored_key(endpoint)
    if own is not None and key.sha256 == _digest(own) and not force:
        raise UserError(
            f"key {key.id} is the one that the commands use; nothing was changed",
            hint="With --force it is revoked all the same, and the next `python run.py deploy` makes another.",
        )
    revoked = key.model_copy(update={"revoked_at": _now()})
    store.write(revoked)
    return revoked


def _read(endpoint: str, storage: Storage) -> KeyStore:
    store = KeyStore(storage.endpoint_folder(endpoint), storage.options)
    if problems := store.refresh():
        raise UserError(
            f"a key of endpoint {endpoint!r} cannot be read: {problems[0]}",
            hint="Put the file right or take it away; the endpoint goes on with the keys it knows.",
        )
    return store


def _sorted(store: KeyStore) -> list[Key]:
    return sorted(store.keys.values(), key=lambda key: (str(key.created_at or ""), key.id))


def _stored_key(endpoint: str) -> str | None:
    found = Client().list_secrets(name=secret_name(endpoint)).items
    return str(Client().get_secret(found[0].id).secret_values["key"]) if found else None


def _keep(endpoint: str, key: str) -> None:
    found = Client().list_secrets(name=secret_name(endpoint)).items
    if found:
        Client().update_secret(found[0].id, add_or_update_values={"key": key})
    else:
        Client().create_secret(secret_name(endpoint), values={"key": key})


def _entry(key: str, name: str, scopes: Sequence[str]) -> Key:
    digest = _digest(key)
    return Key(id=f"k-{digest[:12]}", name=name, sha256=digest, scopes=frozenset(scopes), created_at=_now())


def _new_key() -> str:
    return f"tl-{secrets.token_urlsafe(32)}"


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
