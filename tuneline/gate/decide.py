"""The decision: a candidate passes if it is proven better where it must be and no worse where it may not be.

Broken input fails. A tie on a target fails. Luck is called luck. What is not known stays where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tuneline.config import GateConfig
from tuneline.config.gate import Opponent
from tuneline.evaluation.report import EvaluationReport, SuiteReport
from tuneline.gate.compare import DecidingRole, Evidence, compare, groups_of, weigh
from tuneline.gate.holm import Adjusted, holm
from tuneline.gate.pairs import BrokenEvaluationError, pair, truncated
from tuneline.gate.verdict import Comparison, Outcome, Rule, Verdict
from tuneline.gate.verdict_words import BROKEN, rule_in_words, verdict_in_words
from tuneline.gate.words import comparison_in_words


@dataclass(frozen=True, eq=False)
class _Trial:
    """A suite whose differences are weighed, before Holm's correction says how sure they must be.

    ``problem`` and ``problem_outcome`` say why they decide nothing, whatever they are.
    """

    suite: SuiteReport
    role: DecidingRole
    metric: str
    threshold: float
    evidence: tuple[Evidence, ...] = ()
    problem: str = ""
    problem_outcome: Outcome | None = None

    @property
    def p_value(self) -> float:
        return max((found.p_value for found in self.evidence), default=1.0)


def decide(report: EvaluationReport, rules: GateConfig) -> Verdict:
    """Judge a candidate by an evaluation report.

    Every suite with the role of target or guard gives a rule. On each, the mean of the paired differences to each
    opponent is estimated with a BCa bootstrap interval.

    - A target is compared with ``must_beat``; a champion that does not exist need not be beaten, the base model
      then must. It passes if against each of them the whole interval lies above ``min_difference`` and so uneven
      a split of wins and losses is no matter of luck either; it fails if against one the whole interval lies at
      or below it, if no score differs, or if the candidate did worse.
    - A guard is compared with the champion, or with the base model if there is none. It passes if the whole
      interval lies above minus ``margin`` or if no score differs, and fails if the whole interval lies below it.
    - Both are undecided otherwise, and always with fewer than ``min_items`` questions. Both fail if a question,
      an answer or a score is missing, was refused, or is no number.

    Over several targets p-values and intervals are Holm's, so that all of them together let a useless candidate
    pass as rarely as one alone: with ``confidence`` 0.95 in at most 2.5 % of cases.

    The verdict is the worst of all guards and, with ``targets: all``, of all targets. With ``any`` one target
    that passes is enough, unless another is proven worse or broken.

    Args:
        report: what base model, champion and candidate answered, by suite.
        rules: section ``gate`` of the config.
    """
    champion: tuple[Opponent, ...] = ("champion",) if any(s.subject("champion") for s in report.suites) else ()
    roles: tuple[DecidingRole, ...] = ("target", "guard")
    trials = [_tried(suite, role, champion, rules) for role in roles for suite in report.suites if suite.role == role]
    targets = [trial for trial in trials if trial.role == "target"]
    if targets:
        adjusted = holm([trial.p_value for trial in targets], confidence=rules.confidence)
        adjusted += [Adjusted(trial.p_value, rules.confidence) for trial in trials if trial.role == "guard"]
        found = [_rule(trial, by, rules, len(trials) > 1) for trial, by in zip(trials, adjusted, strict=True)]
        outcome, deciding = _overall(found, rules)
        sentence = verdict_in_words(outcome, deciding, found)
    else:
        found, outcome = [], "FAIL"
        sentence = f"{BROKEN}no suite has the role of a target, so there is nothing to be better at."
    return Verdict(
        outcome=outcome,
        sentence=sentence,
        rules=tuple(found),
        warnings=(report.agreement.sentence + ".",) if report.agreement and not report.agreement.agrees else (),
        confidence=rules.confidence,
        resamples=rules.resamples,
        seed=rules.seed,
        min_items=rules.min_items,
        targets=rules.targets,
        power=rules.power,
    )


def _tried(suite: SuiteReport, role: DecidingRole, champion: tuple[Opponent, ...], rules: GateConfig) -> _Trial:
    metric = suite.primary
    if role == "target":
        threshold = rules.min_difference if suite.min_difference is None else suite.min_difference
        opponents: list[Opponent] = [opponent for opponent in rules.must_beat if opponent == "base" or champion] or [
            "base"
        ]
    else:
        threshold = 0.0 - (rules.margin if suite.margin is None else suite.margin)
        opponents = list(champion or ("base",))
    try:
        pairs = [pair(suite, opponent, metric) for opponent in opponents]
    except BrokenEvaluationError as error:
        return _Trial(suite, role, metric, threshold, problem=str(error), problem_outcome="FAIL")
    sources = [item.source for item in suite.items]
    if rules.clusters == "source" and len(set(sources)) == 1:
        problem = (
            f"All {len(sources)} questions come from one source, so nobody knows how much another would differ. "
            "Ask questions from more sources"
        )
        return _Trial(suite, role, metric, threshold, problem=problem, problem_outcome="INCONCLUSIVE")
    groups = groups_of(sources, rules.clusters)
    evidence = tuple(weigh(found, role, threshold, groups, rules) for found in pairs)
    least = suite.min_items or rules.min_items
    if len(sources) < least:
        problem = (
            f"Only {len(sources)} questions were asked and at least {least} are needed, so nothing is "
            f"decided. Ask {least - len(sources)} more"
        )
        return _Trial(suite, role, metric, threshold, evidence, problem, "INCONCLUSIVE")
    return _Trial(suite, role, metric, threshold, evidence)


def _rule(trial: _Trial, adjusted: Adjusted, rules: GateConfig, has_several: bool) -> Rule:
    comparisons = [_compared(evidence, trial, adjusted.confidence, rules.power) for evidence in trial.evidence]
    outcome = trial.problem_outcome or _worst([c.outcome for c in comparisons])
    rule = Rule(
        suite=trial.suite.name,
        role=trial.role,
        metric=trial.metric,
        threshold=trial.threshold,
        items=len(trial.suite.items),
        truncated=len(truncated(trial.suite, trial.metric)),
        comparisons=tuple(comparisons),
        p_value=trial.p_value,
        adjusted_p=adjusted.p_value,
        confidence=adjusted.confidence,
        outcome=outcome,
        sentence="",
    )
    return rule.model_copy(update={"sentence": rule_in_words(rule, trial.problem, has_several)})


def _compared(evidence: Evidence, trial: _Trial, confidence: float, power: float) -> Comparison:
    unworded = compare(evidence, trial.role, trial.threshold, confidence=confidence, power=power)
    words = comparison_in_words(unworded, trial.role, trial.metric, trial.threshold, confidence)
    return unworded.model_copy(update={"sentence": words})


def _worst(outcomes: Sequence[Outcome]) -> Outcome:
    order: tuple[Outcome, ...] = ("FAIL", "INCONCLUSIVE", "PASS")
    return next(level for level in order if level in outcomes)


def _overall(found: Sequence[Rule], rules: GateConfig) -> tuple[Outcome, list[Rule]]:
    """The outcome, and the rules that brought it about."""
    targets = [rule for rule in found if rule.role == "target"]
    guards = [rule for rule in found if rule.role == "guard"]
    if rules.targets == "any":
        best = next(o for o in ("PASS", "INCONCLUSIVE", "FAIL") if any(rule.outcome == o for rule in targets))
        # A target that merely did not improve is no obstacle beside one that did; one that got worse is.
        targets = [rule for rule in targets if rule.outcome == best or _is_proven_worse(rule)]
    counted = [*targets, *guards]
    outcome = _worst([rule.outcome for rule in counted])
    return outcome, [rule for rule in counted if rule.outcome == outcome]


def _is_proven_worse(rule: Rule) -> bool:
    """Broken counts too: it may hide anything."""
    is_broken = rule.outcome == "FAIL" and not rule.comparisons
    return is_broken or (rule.outcome == "FAIL" and any(c.high < 0 for c in rule.comparisons))
