"""API keys: made at the first deployment, kept whole in ZenML's secret store, hashed beside the releases."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import tempfile
from datetime import UTC, datetime

import fsspec
from zenml.client import Client

from controlplane.storage import Storage
from tuneline import paths
from tuneline.errors import UserError

SCOPES = ("inference", "pin", "metrics")


def secret_name(endpoint: str) -> str:
    """The ZenML secret that holds an endpoint's key."""
    return f"tuneline-{endpoint}-key"


def read_key(endpoint: str) -> str:
    """The endpoint's API key.

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
    """The endpoint's API key, made now if there is none; its hash stands beside the releases afterwards."""
    key = _stored_key(endpoint)
    if key is None:
        key = f"tl-{secrets.token_urlsafe(32)}"
        Client().create_secret(secret_name(endpoint), values={"key": key})
    _publish_hash(key, storage, endpoint)
    return key


def _stored_key(endpoint: str) -> str | None:
    found = Client().list_secrets(name=secret_name(endpoint)).items
    return str(Client().get_secret(found[0].id).secret_values["key"]) if found else None


def _publish_hash(key: str, storage: Storage, endpoint: str) -> None:
    fs, path = fsspec.url_to_fs(paths.keys_file(storage.endpoint_folder(endpoint)), **storage.options)
    document = json.loads(fs.cat_file(path)) if fs.exists(path) else {"keys": []}
    digest = hashlib.sha256(key.encode()).hexdigest()
    if any(entry["sha256"] == digest for entry in document["keys"]):
        return
    document["keys"].append(
        {
            "id": f"k-{digest[:6]}",
            "name": "default",
            "sha256": digest,
            "scopes": list(SCOPES),
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
    )
    data = json.dumps(document, indent=2).encode()
    if storage.is_local:  # the gateway reads this file at any moment: it must never see half of it
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=os.path.dirname(path), delete=False) as part:
            part.write(data)
        os.replace(part.name, path)
    else:
        fs.pipe_file(path, data)
