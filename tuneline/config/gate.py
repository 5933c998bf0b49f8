"""Section ``gate``: what the measurements must show before a candidate moves on."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tuneline.config.metrics import Metric
from tuneline.config.section import Section

Opponent = Literal["base", "champion"]


class GateConfig(Section):
    """The paired tests that a candidate must pass. They may also end undecided, which moves nothing."""

    metric: Metric | None = None
    """What decides on suites of type ``heldout`` that measure it and name no other; without it
    ``evaluation.primary``."""

    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Of the interval around the mean difference. Higher asks for more evidence."""

    resamples: int = Field(default=10_000, ge=1_000)
    """Bootstrap resamples; 10,000 put the interval's ends to about a hundredth of its width."""

    min_items: int = Field(default=50, gt=0)
    """With fewer questions a rule is INCONCLUSIVE, whatever they say."""

    seed: int = 0
    """Of the resampling, so that a verdict can be repeated."""

    must_beat: tuple[Opponent, ...] = Field(default=("base", "champion"), min_length=1)
    """Whom the candidate must beat on targets. There is no champion before the first promotion."""

    min_difference: float = Field(default=0.0, ge=0, lt=1)
    """On targets the interval must lie above this, in units of the metric: 0.02 asks for two points of a hundred."""

    margin: float = Field(default=0.02, ge=0, lt=1)
    """On guards the interval must lie above minus this: the candidate may lose so much against what is in production
    (against the base model before the first promotion) and no more."""

    targets: Literal["all", "any"] = "all"
    """Whether all targets must improve, or one of them. Holm's correction covers their number either way."""

    clusters: Literal["auto", "source", "none"] = "auto"
    """Whether items of one source, which are alike, are resampled together: ``auto`` does it from 20 sources on."""

    power: float = Field(default=0.8, gt=0.5, lt=1)
    """How probable it should be to prove a difference that is there; for the advice on how many items are needed."""

    approval: Literal["automatic", "by_hand"] = "automatic"
    """``by_hand``: a PASS is staged, and goes to production only by ``run.py promote`` with a reason."""
