"""What an adapter came from, kept beside it: settings, data, prompt and environment. Two versions differ in these.

Settings name a base model's folder without its path: an adapter travels, and the training machine's paths do not.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneline.training.environment import environment

if TYPE_CHECKING:
    from tuneline.config import ModelConfig, TrainingConfig
    from tuneline.data.dataset import ChatDataset
    from tuneline.prompts import PromptTemplate


def origin(
    training_set: ChatDataset, model: ModelConfig, training: TrainingConfig, prompt: PromptTemplate, base_sha256: str
) -> dict[str, Any]:
    """Describe a training that is about to begin.

    Returns:
        JSON: ``settings`` by section, ``data``, ``prompt_sha256``, ``base_sha256`` and ``environment``.
    """
    written = prompt.model_dump(mode="json")
    return {
        "settings": {"model": _without_path(model), "training": training.model_dump(mode="json"), "prompt": written},
        "data": {"records": len(training_set), "fingerprint": training_set.fingerprint()},
        "prompt_sha256": hashlib.sha256(json.dumps(written, sort_keys=True).encode()).hexdigest(),
        "base_sha256": base_sha256,
        "environment": environment(),
    }


def flat(settings: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Settings by their dotted keys, as ``--set`` takes them."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        name = f"{above}.{key}" if above else key
        found |= flat(value, name) if isinstance(value, dict) and value else {name: value}
    return found


def _without_path(model: ModelConfig) -> dict[str, Any]:
    settings = model.model_dump(mode="json")
    return settings | {"base": Path(model.base).name if model.is_local else model.base}
