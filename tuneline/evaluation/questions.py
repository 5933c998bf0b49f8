"""The questions of all suites, as they are asked: an artifact of its own, so that a verdict can be recomputed."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from tuneline.evaluation.report import EvaluationItem


class Questions(BaseModel):
    """The items of each suite that has any before it is run; lm-eval brings its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    suites: dict[str, tuple[EvaluationItem, ...]]

    def __len__(self) -> int:
        """The number of items, one that is in two suites counted twice."""
        return sum(map(len, self.suites.values()))
