"""A trained adapter as a folder: two files for the engine, the rest for people."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneline.errors import TunelineError
from tuneline.release.files import ADAPTER_FILES, fingerprint

MERGED = "merged"  # the subfolder of a whole model


@dataclass(frozen=True)
class LoraAdapter:
    """A LoRA adapter on disk.

    Attributes:
        folder: holds ``adapter_config.json``, ``adapter_model.safetensors``, ``training.json``
            (the run's numbers) and ``curve.json`` (the loss by step); ``merged/`` too, if the version is a whole model.
            ``origin.json`` and ``curve.svg`` are there once the training step has written them.
    """

    folder: Path

    def __post_init__(self) -> None:
        for name in ADAPTER_FILES:
            if not (self.folder / name).is_file():
                raise TunelineError(f"{self.folder} is no adapter: {name} is missing")

    @property
    def config(self) -> dict[str, Any]:
        """PEFT's configuration."""
        config: dict[str, Any] = json.loads((self.folder / "adapter_config.json").read_text())
        return config

    @property
    def rank(self) -> int:
        """LoRA rank."""
        return int(self.config["r"])

    @property
    def sha256(self) -> str:
        """Fingerprint of what the engine loads."""
        return fingerprint(self.folder, ADAPTER_FILES)

    @property
    def merged(self) -> Path | None:
        """The whole model, if it is served as one: a folder with config.json, safetensors and tokenizer.

        The adapter beside it then changes nothing (its B is zero); it stands for the version in the engine.
        """
        folder = self.folder / MERGED
        return folder if folder.is_dir() else None

    @property
    def merged_sha256(self) -> str | None:
        """Fingerprint of the whole model's files."""
        return None if self.merged is None else fingerprint(self.merged)

    @property
    def training(self) -> dict[str, Any]:
        """How it was trained: the numbers of ``TrainingRun``."""
        numbers: dict[str, Any] = json.loads((self.folder / "training.json").read_text())
        return numbers

    @property
    def curve(self) -> list[dict[str, float]]:
        """The moments of the run, each with the fields of ``Progress``."""
        moments: list[dict[str, float]] = json.loads((self.folder / "curve.json").read_text())
        return moments

    @property
    def origin(self) -> dict[str, Any]:
        """What it came from (see ``tuneline.training.origin``); empty for adapters made before it was kept."""
        file = self.folder / "origin.json"
        came_from: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
        return came_from
