"""How a process without ZenML reaches the stack's artifact store."""

from __future__ import annotations

import json
from typing import Any

from zenml.artifact_stores import BaseArtifactStore


def storage_options(store: BaseArtifactStore) -> dict[str, Any]:
    """What fsspec needs to open the store's URIs. It holds secrets: for function arguments, never for records.

    Only an S3 store keeps anything that fsspec does not find by itself; Google's and Azure's libraries read their
    own variables, and a local store needs nothing.
    """
    if store.flavor != "s3":
        return {}
    from zenml.integrations.s3.artifact_stores import S3ArtifactStore

    if not isinstance(store, S3ArtifactStore):
        raise TypeError(f"the artifact store {store.name!r} has the flavor s3 but is a {type(store).__name__}")
    # Temporary tokens of a service connector are handed over as they are: they end when they end. For an
    # endpoint that lives longer, give the store keys, or the machine a role.
    key, secret, token, region = store.get_credentials()
    client = ({"region_name": region} if region else {}) | (store.config.client_kwargs or {})
    options = {
        "key": key,
        "secret": secret,
        "token": token,
        "endpoint_url": client.pop("endpoint_url", None),
        "client_kwargs": client,
        "config_kwargs": store.config.config_kwargs,
        "s3_additional_kwargs": store.config.s3_additional_kwargs,
    }
    return {name: value for name, value in options.items() if value}


def storage_environment(store: BaseArtifactStore) -> dict[str, str]:
    """The same as environment variables, for the process's fsspec and boto. It holds secrets as well."""
    options = storage_options(store)
    names = {"key": "AWS_ACCESS_KEY_ID", "secret": "AWS_SECRET_ACCESS_KEY", "token": "AWS_SESSION_TOKEN"}
    environment = {variable: str(options.pop(name)) for name, variable in names.items() if name in options}
    if endpoint := options.pop("endpoint_url", None):
        environment |= {"AWS_ENDPOINT_URL_S3": endpoint, "FSSPEC_S3_ENDPOINT_URL": endpoint}
    if region := options.get("client_kwargs", {}).get("region_name"):
        environment["AWS_DEFAULT_REGION"] = region
    if options:  # the rest is about connections, not about who may connect
        environment["FSSPEC_S3"] = json.dumps(options)
    return environment
