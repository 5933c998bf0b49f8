"""Sections ``evaluation`` and ``gate``: what is measured, and what a measurement must show."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tuneline.config.section import Section

Metric = Literal["exact_match", "chrf", "rouge_l"]
Opponent = Literal["base", "champion"]


class EvaluationConfig(Section):
    """How base model, champion and candidate answer the same questions. Answers are greedy."""

    metrics: tuple[Metric, ...] = Field(default=("exact_match", "chrf", "rouge_l"), min_length=1)
    """Each is kept for every item, from 0 to 1."""

    primary: Metric = "exact_match"
    """The one that leads tables; the gate's too, unless ``gate.metric`` says otherwise."""

    max_new_tokens: int = Field(default=128, gt=0)
    """Longest answer, tokens. What is cut off there counts as it is."""

    batch_size: int = Field(default=32, gt=0)
    """Questions answered at once. Changes memory and speed only."""

    golden_prompts: int = Field(default=32, gt=0)
    """Questions whose answers' log-probabilities are kept; the served adapter must reproduce them."""


class GateConfig(Section):
    """The paired test that a candidate must pass. It may also end undecided, which moves nothing."""

    metric: Metric | None = None
    """What is compared; without it ``evaluation.primary``."""

    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Of the interval around the mean difference. Higher asks for more evidence."""

    resamples: int = Field(default=10_000, ge=1_000)
    """Bootstrap resamples; 10,000 put the interval's ends to about a hundredth of its width."""

    min_items: int = Field(default=50, gt=0)
    """With fewer questions the verdict is INCONCLUSIVE, whatever they say."""

    seed: int = 0
    """Of the resampling, so that a verdict can be repeated."""

    must_beat: tuple[Opponent, ...] = Field(default=("base", "champion"), min_length=1)
    """Whom the candidate is compared with. There is no champion before the first promotion."""

    min_difference: float = Field(default=0.0, ge=0, lt=1)
    """The interval must lie above this, in units of the metric: 0.02 asks for two points of a hundred."""
