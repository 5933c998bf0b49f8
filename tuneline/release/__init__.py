"""Releases: small immutable files that say what an endpoint serves, and where they are kept."""

from tuneline.release.document import AdapterRef, BaseRef, EngineArguments, Release, Routes
from tuneline.release.store import ReleaseConflict, ReleaseStore

__all__ = ["AdapterRef", "BaseRef", "EngineArguments", "Release", "ReleaseConflict", "ReleaseStore", "Routes"]
