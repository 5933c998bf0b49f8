"""One comparison: what the paired differences of a suite prove against its threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tuneline.config import GateConfig
from tuneline.gate.bootstrap import Bootstrap, Interval, paired_bootstrap
from tuneline.gate.exact import changes_beyond_luck, hidden_loss, least_luck, sign_test
from tuneline.gate.pairs import Pairs
from tuneline.gate.power import detectable_difference, items_to_settle
from tuneline.gate.verdict import Comparison, Outcome

DecidingRole = Literal["target", "guard"]

# With fewer groups the cluster bootstrap passes too often (Cameron, Gelbach & Miller, 2008, find it with 5 to 30).
LEAST_SOURCES = 20
_MOST_ITEMS = 1_000_000


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of one opponent before it is clear how much confidence is asked for.

    Attributes:
        pairs: the differences.
        bootstrap: of their mean.
        wins: items on which the candidate is better; ``losses``: worse.
        is_binary: whether every difference is -1, 0 or 1, so that wins and losses are all there is to know.
        changed_groups: how many groups hold a win or a loss; None if each item stands for itself.
        luck: the exact probability of so uneven a split; see ``Comparison.luck``.
        hidden_loss: of a guard, see ``Comparison.hidden_loss``.
        p_value: two-sided, against the threshold.
    """

    pairs: Pairs
    bootstrap: Bootstrap
    wins: int
    losses: int
    is_binary: bool
    changed_groups: int | None
    luck: float
    hidden_loss: float
    p_value: float


def groups_of(sources: Sequence[str], clusters: Literal["auto", "source", "none"]) -> NDArray[np.int64] | None:
    """Number the groups of items that are resampled together; None if each item stands for itself."""
    names, numbers = np.unique(np.array(sources), return_inverse=True)
    has_alike = len(names) < len(sources)
    if clusters == "none" or not has_alike or (clusters == "auto" and len(names) < LEAST_SOURCES):
        return None
    return numbers.astype(np.int64)


def weigh(
    pairs: Pairs, role: DecidingRole, threshold: float, groups: NDArray[np.int64] | None, rules: GateConfig
) -> Evidence:
    """Resample the differences and compute the p-value.

    On targets it is the larger of the bootstrap's and of luck's: few changed answers make a bootstrap too sure
    of itself. A guard need not show that anything changed, but so many questions that a loss would have shown.
    """
    differences = pairs.differences
    bootstrap = paired_bootstrap(differences, resamples=rules.resamples, seed=rules.seed, groups=groups)
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    is_binary = bool(np.isin(differences, (-1.0, 0.0, 1.0)).all())
    changed_groups = None if groups is None else len(np.unique(groups[differences != 0]))
    luck = _luck(wins, losses, is_binary, changed_groups)
    p_value = bootstrap.p_value(threshold)
    # Scores from 0 to 1 lose at most one each, so a mean loss of the margin takes that share of the items or more.
    hidden = 0.0
    if role == "guard" and pairs.in_points:
        hidden = hidden_loss(len(differences), losses - wins, -threshold)
    p_value = max(p_value, luck) if role == "target" else max(p_value, min(1.0, 2 * hidden))
    return Evidence(pairs, bootstrap, wins, losses, is_binary, changed_groups, luck, hidden, p_value)


def _luck(wins: int, losses: int, is_binary: bool, changed_groups: int | None) -> float:
    luck = sign_test(wins, losses) if is_binary else least_luck(wins + losses)
    return luck if changed_groups is None else max(luck, least_luck(changed_groups))


def compare(evidence: Evidence, role: DecidingRole, threshold: float, *, confidence: float, power: float) -> Comparison:
    """Decide one comparison at the confidence that the rule has after Holm's correction; without words yet.

    A target passes if the whole interval lies above the threshold and luck cannot explain it; it fails if the
    whole interval lies at or below it, if no score differs, or if the candidate did worse. A guard passes if the
    whole interval lies above the threshold (non-inferiority) and so few losses do not hide a larger one; it fails
    if the whole interval lies below it. One whose scores have no bounds also passes if none of them differs.
    """
    pairs, bootstrap = evidence.pairs, evidence.bootstrap
    bca, percentile = bootstrap.bca(confidence), bootstrap.percentile(confidence)
    outcome = _outcome(evidence, role, threshold, bca, 1 - confidence)
    return Comparison(
        opponent=pairs.opponent,
        opponent_version=pairs.opponent_version,
        items=len(pairs.differences),
        clusters=bootstrap.units,
        candidate_mean=pairs.candidate_mean,
        opponent_mean=pairs.opponent_mean,
        difference=bootstrap.difference,
        low=bca.low,
        high=bca.high,
        percentile_low=percentile.low,
        percentile_high=percentile.high,
        wins=evidence.wins,
        losses=evidence.losses,
        ties=len(pairs.differences) - evidence.wins - evidence.losses,
        luck=evidence.luck,
        hidden_loss=evidence.hidden_loss,
        p_value=evidence.p_value,
        detectable=_detectable(evidence, role, confidence, power),
        needed_items=_needed(evidence, role, threshold, confidence, power) if outcome == "INCONCLUSIVE" else None,
        outcome=outcome,
        sentence="",
    )


def _outcome(evidence: Evidence, role: DecidingRole, threshold: float, interval: Interval, alpha: float) -> Outcome:
    difference = evidence.bootstrap.difference
    has_changed = evidence.wins + evidence.losses > 0
    if role == "guard" and not has_changed and not evidence.pairs.in_points:
        return "PASS"
    if role == "target" and (not has_changed or difference < 0 or interval.high <= threshold):
        return "FAIL"
    if role == "guard" and interval.high < threshold:
        return "FAIL"
    return "PASS" if difference > threshold and evidence.p_value < alpha else "INCONCLUSIVE"


def _detectable(evidence: Evidence, role: DecidingRole, confidence: float, power: float) -> float:
    error = evidence.bootstrap.standard_error
    reach = detectable_difference(error, confidence=confidence, power=power)
    if role == "target" and evidence.is_binary:
        # Where nothing changed the bootstrap sees no error, but fewer than these changes prove nothing.
        reach = max(reach, changes_beyond_luck(1 - confidence) / len(evidence.pairs.differences))
    return reach


def _needed(evidence: Evidence, role: DecidingRole, threshold: float, confidence: float, power: float) -> int | None:
    items = len(evidence.pairs.differences)
    distance = evidence.bootstrap.difference - threshold
    needed = items_to_settle(items, distance, evidence.bootstrap.standard_error, confidence=confidence, power=power)
    while (
        needed is not None and role == "guard" and distance > 0 and _may_hide(evidence, needed, -threshold, confidence)
    ):
        needed = math.ceil(needed * 1.05) if needed < _MOST_ITEMS else None
    while needed is not None and role == "target" and distance > 0 and _may_be_luck(evidence, needed, 1 - confidence):
        needed = math.ceil(needed * 1.05) if needed < _MOST_ITEMS else None
    return needed


def _may_hide(evidence: Evidence, items: int, margin: float, confidence: float) -> bool:
    """Whether so many items with the same shares of wins and losses would still be too few to rule the margin out."""
    growth = items / len(evidence.pairs.differences)
    if not evidence.pairs.in_points:
        return False
    return 2 * hidden_loss(items, math.ceil((evidence.losses - evidence.wins) * growth), margin) >= 1 - confidence


def _may_be_luck(evidence: Evidence, items: int, alpha: float) -> bool:
    """Whether so many items with the same shares of wins and losses would still be too few for the exact test."""
    growth = items / len(evidence.pairs.differences)
    groups = evidence.changed_groups
    wins, losses = math.floor(evidence.wins * growth), math.ceil(evidence.losses * growth)
    return _luck(wins, losses, evidence.is_binary, None if groups is None else math.floor(groups * growth)) >= alpha
