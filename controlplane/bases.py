"""The base model of a release: a hub id, or a folder that every gateway can reach."""

from __future__ import annotations

from pathlib import Path

import fsspec

from controlplane.storage import Storage
from tuneline import paths
from tuneline.config import ModelConfig
from tuneline.release.document import BaseRef
from tuneline.release.files import fingerprint
from tuneline.training.adapter import MERGED, LoraAdapter


def base_sha256(model: ModelConfig) -> str:
    """What identifies a base model's weights: a folder's fingerprint, or hub id and revision."""
    folder = Path(model.base)
    return fingerprint(folder) if folder.is_dir() else f"{model.base}@{model.revision or 'main'}"


def base_ref(model: ModelConfig, storage: Storage) -> BaseRef:
    """The base model as a release names it.

    A local folder is named as it is when the artifact store is local too. A remote store gets a
    copy first, once, by its fingerprint: a gateway on another machine has no other way to it.
    """
    folder = Path(model.base)
    if not folder.is_dir():
        return BaseRef(model=model.base, revision=model.revision, trust_remote_code=model.trust_remote_code)
    sha256 = fingerprint(folder)
    if storage.is_local:
        uri = str(folder.resolve())
    else:
        uri = paths.base_folder(storage.uri, sha256)
        fs, path = fsspec.url_to_fs(uri, **storage.options)
        # The marker is written last: a half-uploaded copy is uploaded again.
        marker = f"{path}.complete"
        if not fs.exists(marker):
            for file in sorted(p for p in folder.rglob("*") if p.is_file()):
                fs.put_file(str(file), f"{path}/{file.relative_to(folder).as_posix()}")
            fs.pipe_file(marker, b"")
    return BaseRef(model=uri, sha256=sha256, trust_remote_code=model.trust_remote_code)


def whole_model_ref(adapter: LoraAdapter, uri: str, model: ModelConfig) -> BaseRef | None:
    """A version's own weights as a release names them: they lie in the artifact store already. None for an adapter.

    Args:
        adapter: what was trained.
        uri: where the artifact store has it.
        model: the base model that it was trained from.
    """
    if adapter.merged_sha256 is None:
        return None
    return BaseRef(model=f"{uri}/{MERGED}", sha256=adapter.merged_sha256, trust_remote_code=model.trust_remote_code)
