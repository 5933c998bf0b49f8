"""Releases: small immutable files that say what an endpoint serves, and where they are kept."""

from tuneline.release.document import AdapterRef, BaseRef, CanaryBounds, EngineArguments, Release, Routes
from tuneline.release.gateway import GatewayArguments
from tuneline.release.store import ReleaseConflict, ReleaseStore

__all__ = [
    "AdapterRef",
    "BaseRef",
    "CanaryBounds",
    "EngineArguments",
    "GatewayArguments",
    "Release",
    "ReleaseConflict",
    "ReleaseStore",
    "Routes",
]
