"""Model versions made of nothing but their record."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID

from controlplane.versions import (
    Stage,
    Version,
    VersionRecord,
    get_version,
    list_versions,
    move_to_staging,
    register,
    set_stage,
)
from tuneline.release.document import AdapterRef, BaseRef, EngineArguments

MODEL = "tiny"


def record_of(adapter: str = "a", **changed: Any) -> VersionRecord:
    """The record of a version that passed; another ``adapter`` means other weights."""
    given: dict[str, Any] = {
        "training_key": f"key of {adapter}",
        "outcome": "PASS",
        "sentence": "It is better than the base model.",
        "scores": {"exact_match": 0.9},
        "adapter": AdapterRef(
            uri=f"/adapters/{adapter}",
            sha256=hashlib.sha256(adapter.encode()).hexdigest(),
            model_version="unregistered",
            rank=8,
        ),
        "base": BaseRef(model="/bases/tiny", sha256="0" * 64),
        "engine": EngineArguments(max_lora_rank=8),
        "report": UUID(int=1),
    }
    return VersionRecord(**(given | changed))


def registered(adapter: str = "a", stage: Stage | None = "staging", **changed: Any) -> Version:
    """The next version of ``MODEL``, at a stage."""
    version = register(MODEL, record_of(adapter, **changed), [])
    if stage is None:
        return version
    if stage == "staging":
        return move_to_staging(version)
    set_stage(version, stage)
    return get_version(MODEL, version.name)


def stages() -> dict[str, str]:
    """The stage of each version of ``MODEL``, read anew."""
    return {version.name: version.stage for version in list_versions(MODEL)}
