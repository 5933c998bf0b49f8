"""Where things are kept: the one place for a path."""

from __future__ import annotations

import os
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
ASSETS = REPO / "assets"
CONFIGS = REPO / "configs"


def home() -> Path:
    """Run-time state of this checkout: endpoints' logs, caches, pages. ``TUNELINE_HOME`` moves it."""
    return Path(os.environ.get("TUNELINE_HOME", REPO / ".tuneline"))


def endpoint_workdir(endpoint: str) -> Path:
    """Where a local endpoint keeps its socket, logs and downloaded adapters."""
    return home() / "endpoints" / endpoint


def search_file(name: str, key: str) -> Path:
    """The config that a search found to be the best."""
    return home() / "searches" / f"{name}-{key[:8]}.yaml"


def report_file(model: str, version: str, against: str | None = None) -> Path:
    """The page of a version's evaluation, or that of two versions side by side."""
    beside = f"-against-v{against}" if against is not None else ""
    return home() / "reports" / f"{model}-v{version}{beside}.html"


def training_file(model: str, version: str, against: str | None = None) -> Path:
    """The page of a version's training, or that of two versions' trainings side by side."""
    beside = f"-against-v{against}" if against is not None else ""
    return home() / "reports" / f"{model}-v{version}-training{beside}.html"


def serving_python() -> Path:
    """The interpreter of the serving environment. ``TUNELINE_SERVING_PYTHON`` moves it."""
    return Path(os.environ.get("TUNELINE_SERVING_PYTHON", REPO / ".venv-serving" / "bin" / "python"))


def endpoint_folder(artifact_store: str, endpoint: str) -> str:
    """The folder in the artifact store that defines an endpoint: its releases and its hashed keys."""
    return f"{artifact_store.rstrip('/')}/tuneline/endpoints/{endpoint}"


def search_folder(artifact_store: str, name: str, key: str) -> str:
    """The trials of a hyperparameter search, by what they depend on."""
    return f"{artifact_store.rstrip('/')}/tuneline/searches/{name}/{key[:16]}"


def releases_folder(folder: str) -> str:
    """The releases below an endpoint's folder."""
    return f"{folder.rstrip('/')}/releases"


def keys_file(folder: str) -> str:
    """A list of hashed API keys in an endpoint's folder, of earlier endpoints or written by hand."""
    return f"{folder.rstrip('/')}/keys.json"


def keys_folder(folder: str) -> str:
    """The hashed API keys below an endpoint's folder, one file each."""
    return f"{folder.rstrip('/')}/keys"


def feedback_folder(folder: str) -> str:
    """What users said of an endpoint's answers, below its folder."""
    return f"{folder.rstrip('/')}/feedback"


def checkpoints_root(artifact_store: str) -> str:
    """Below it lie the checkpoints of all trainings."""
    return f"{artifact_store.rstrip('/')}/tuneline/checkpoints"


def checkpoints_folder(artifact_store: str, job: str) -> str:
    """Checkpoints of one training, by its fingerprint."""
    return f"{checkpoints_root(artifact_store)}/{job}"


def base_folder(artifact_store: str, sha256: str) -> str:
    """Where a local base model is kept in a remote artifact store, by its fingerprint."""
    return f"{artifact_store.rstrip('/')}/tuneline/bases/{sha256}"
