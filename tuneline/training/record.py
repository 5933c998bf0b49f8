"""A training as its artifact keeps it, for those who look at it later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TrainingRecord:
    """A version's training as its artifact keeps it.

    Attributes:
        name: of the version, for people.
        numbers: ``training.json``.
        curve: ``curve.json``.
        origin: ``origin.json``; empty for versions made before it was kept.
    """

    name: str
    numbers: dict[str, Any]
    curve: list[dict[str, float]]
    origin: dict[str, Any]
