"""What the gate decided, rule by rule, and why."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from tuneline.evaluation.report import Role

Outcome = Literal["PASS", "FAIL", "INCONCLUSIVE"]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Comparison(_Document):
    """The candidate against one opponent on one suite, item by item.

    Differences are turned so that more is better: of a metric like length, opponent minus candidate. Of a
    relative metric they, and the interval, are shares of the opponent's mean.

    Attributes:
        opponent: base model or champion.
        opponent_version: the champion's model version.
        items: how many questions both answered.
        clusters: how many groups of items were resampled; equal to ``items`` if each stood for itself.
        candidate_mean: mean score of the candidate, in the metric's unit.
        opponent_mean: mean score of the opponent. Of a judge's preference both are shares of items won.
        difference: how much better the candidate is.
        low: lower end of the BCa interval of the difference.
        high: upper end of the BCa interval.
        percentile_low: lower end of the plain percentile interval.
        percentile_high: upper end of the plain percentile interval.
        wins: questions on which the candidate scored better; ``losses``: worse; ``ties``: the same.
        luck: how likely a split of wins and losses this uneven is by luck alone (exact, two-sided); on metrics
            other than 0 and 1 the smallest that this number of changed questions can give. Where sources are
            resampled, no less than what this number of changed sources can give.
        hidden_loss: of a guard on scores from 0 to 1, how likely so few losses are if it truly loses its margin
            (exact, one-sided); 0 where that is not asked.
        p_value: two-sided, of the difference against the rule's threshold; the larger of the bootstrap's and ``luck``
            on targets, of the bootstrap's and twice ``hidden_loss`` on guards.
        detectable: the smallest difference beyond the threshold that so many items would prove with the
            configured power.
        needed_items: how many items would settle the difference as it is, with the configured power; None if it is
            settled, or if no number would (it equals the threshold).
        outcome: of this comparison alone.
        sentence: the same in words.
    """

    opponent: Role
    opponent_version: str | None
    items: int
    clusters: int
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
    hidden_loss: float = 0.0
    p_value: float
    detectable: float
    needed_items: int | None
    outcome: Outcome
    sentence: str

    @property
    def label(self) -> str:
        """For people: ``the champion (version 3)``."""
        if self.opponent == "base":
            return "the base model"
        return f"the {self.opponent} (version {self.opponent_version})"


class Rule(_Document):
    """What one suite had to show, and whether it did.

    Attributes:
        suite: its name.
        role: ``target`` must improve by more than ``threshold``; ``guard`` must not lose more than minus ``threshold``.
        metric: what was compared.
        threshold: what the difference had to exceed: ``min_difference`` of a target, minus ``margin`` of a guard.
        items: how many questions were asked.
        truncated: how many of the candidate's answers were cut off; they count as wrong.
        comparisons: one per opponent; none if the evaluation was broken.
        p_value: the largest of the comparisons'; 1 if there are none.
        adjusted_p: the same after Holm's correction over all targets; of a guard ``p_value`` itself.
        confidence: of the intervals that decided; above ``gate.confidence`` where several targets share it.
        outcome: of this rule alone.
        sentence: the same in words.
    """

    suite: str
    role: Literal["target", "guard"]
    metric: str
    threshold: float
    items: int
    truncated: int = 0
    comparisons: tuple[Comparison, ...] = ()
    p_value: float = 1.0
    adjusted_p: float = 1.0
    confidence: float
    outcome: Outcome
    sentence: str


class Verdict(_Document):
    """The gate's answer. Only PASS moves a stage.

    Attributes:
        outcome: PASS is proven better, FAIL is proven not better or a broken evaluation, INCONCLUSIVE is not known.
        sentence: why, in words that a product owner understands.
        rules: one per target and guard, targets first; none if the whole evaluation was broken.
        warnings: what did not decide but should be known, such as an engine that disagrees with transformers.
        confidence: of ``gate.confidence``.
        resamples: of the bootstrap.
        seed: of the bootstrap.
        min_items: with fewer questions a rule is undecided.
        targets: whether ``all`` targets had to improve or ``any``.
        power: what ``detectable`` and ``needed_items`` were computed for.
    """

    schema_version: Literal[2] = 2
    outcome: Outcome
    sentence: str
    rules: tuple[Rule, ...] = ()
    warnings: tuple[str, ...] = ()
    confidence: float
    resamples: int
    seed: int
    min_items: int
    targets: Literal["all", "any"]
    power: float

    @property
    def passed(self) -> bool:
        """Whether the candidate may move on."""
        return self.outcome == "PASS"
