"""What a model version came from, as fingerprints: the same inputs mean that there is nothing to train."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tuneline import paths
from tuneline.config import Config, FeedbackSource, FileSource, Source, evaluation_files
from tuneline.data.feedback_files import feedback_fingerprint
from tuneline.release.files import fingerprint

_ROOMS = ("data", "prompts", "training", "evaluation", "gate")
_LICENCES: Any = {"suites": {"__all__": {"sources": {"__all__": {"license"}}}}}


def training_code() -> str:
    """Fingerprint of the library code that turns data into a judged adapter.

    ZenML's cache key covers a step's own source, but not what the step calls.
    """
    root = paths.REPO / "tuneline"
    return fingerprint(root, [str(p.relative_to(root)) for room in _ROOMS for p in (root / room).rglob("*.py")])


def training_key(config: Config) -> str:
    """Fingerprint of all that a judged version depends on: config, data, base model and code.

    The champion is not part of it: the same candidate against another champion is the same candidate. Licences and
    the model card's words are not either.
    """
    judged = {
        "questions": [_identity(source) for source in config.data.evaluation.sources or ()],
        "evaluation": config.evaluation.model_dump(mode="json", exclude=_LICENCES),
        "gate": config.gate.model_dump(mode="json", exclude={"approval"}),
        "serving": config.serving.engine().model_dump(mode="json"),
    }
    contents = {str(path): _content(path) for path in evaluation_files(config.evaluation)}
    total = hashlib.sha256()
    for part in (config.fingerprint(), json.dumps(_by_content(judged, contents), sort_keys=True), training_code()):
        total.update(f"{part}\n".encode())
    return total.hexdigest()


def _identity(source: Source) -> dict[str, Any]:
    identity = source.model_dump(mode="json", exclude={"license"})
    if isinstance(source, FileSource):
        identity["path"] = _content(Path(source.path))
    if isinstance(source, FeedbackSource):
        identity["folder"] = feedback_fingerprint(source.folder)
    return identity


def _content(path: Path) -> str:
    """SHA-256 of a file, or of all files in a folder."""
    return fingerprint(path) if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()


def _by_content(value: Any, contents: dict[str, str]) -> Any:
    """A config's values with every file's path replaced by what is in the file."""
    if isinstance(value, dict):
        return {key: _by_content(inner, contents) for key, inner in value.items()}
    if isinstance(value, list):
        return [_by_content(inner, contents) for inner in value]
    return contents.get(value, value) if isinstance(value, str) else value
