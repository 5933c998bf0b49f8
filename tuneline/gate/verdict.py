"""What the gate decided, and why."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from tuneline.evaluation.report import Role

Outcome = Literal["PASS", "FAIL", "INCONCLUSIVE"]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Comparison(_Document):
    """The candidate against one opponent, item by item.

    Attributes:
        opponent: base model or champion.
        opponent_version: the champion's model version.
        items: how many questions both answered.
        candidate_mean: mean score of the candidate, 0 to 1.
        opponent_mean: mean score of the opponent, 0 to 1.
        difference: candidate minus opponent.
        low: lower end of the BCa interval of the difference.
        high: upper end of the BCa interval.
        percentile_low: lower end of the plain percentile interval.
        percentile_high: upper end of the plain percentile interval.
        wins: questions on which the candidate scored higher; ``losses``: lower; ``ties``: the same.
        luck: how likely a split of wins and losses this uneven is by luck alone (exact, two-sided);
            on metrics other than 0 and 1 the smallest that this number of changed questions can give.
        outcome: of this comparison alone.
        sentence: the same in words.
    """

    opponent: Role
    opponent_version: str | None
    items: int
    candidate_mean: float
    opponent_mean: float
    difference: float
    low: float
    high: float
    percentile_low: float
    percentile_high: float
    wins: int
    losses: int
    ties: int
    luck: float
    outcome: Outcome
    sentence: str

    @property
    def label(self) -> str:
        """For people: ``the champion (version 3)``."""
        if self.opponent == "base":
            return "the base model"
        return f"the {self.opponent} (version {self.opponent_version})"


class Verdict(_Document):
    """The gate's answer. Only PASS moves a stage.

    Attributes:
        outcome: PASS is proven better, FAIL is proven not better or a broken evaluation, INCONCLUSIVE is not known.
        sentence: why, in words.
        metric: what was compared.
        items: how many questions were asked.
        comparisons: one per opponent; none if the evaluation was broken.
        confidence: of the intervals.
        resamples: of the bootstrap.
        seed: of the bootstrap.
        min_items: with fewer questions nothing is decided.
        min_difference: what the difference had to exceed.
    """

    schema_version: Literal[1] = 1
    outcome: Outcome
    sentence: str
    metric: str
    items: int
    comparisons: tuple[Comparison, ...] = ()
    confidence: float
    resamples: int
    seed: int
    min_items: int
    min_difference: float

    @property
    def passed(self) -> bool:
        """Whether the candidate may move on."""
        return self.outcome == "PASS"
