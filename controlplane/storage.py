"""The active stack's artifact store, as fsspec sees it: releases and keys live there beside the artifacts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from zenml.artifact_stores import BaseArtifactStore
from zenml.enums import StackComponentType

from stacks.active import active_component
from stacks.storage import storage_options
from tuneline import paths
from tuneline.release.store import ReleaseStore


@dataclass(frozen=True)
class Storage:
    """Where an endpoint's files are.

    Attributes:
        uri: the artifact store's root.
        options: fsspec's storage options; they hold credentials, so they are never shown.
    """

    uri: str
    is_local: bool
    options: dict[str, Any] = field(repr=False, default_factory=dict)

    def endpoint_folder(self, endpoint: str) -> str:
        """The folder that defines an endpoint."""
        return paths.endpoint_folder(self.uri, endpoint)

    def releases(self, endpoint: str) -> ReleaseStore:
        """The releases of an endpoint."""
        return ReleaseStore(paths.releases_folder(self.endpoint_folder(endpoint)), self.options)


def active_storage() -> Storage:
    """The active stack's artifact store."""
    store = active_component(StackComponentType.ARTIFACT_STORE)
    assert isinstance(store, BaseArtifactStore), "ZenML has no stack without an artifact store"
    return Storage(uri=store.path, is_local=store.config.is_local, options=storage_options(store))
