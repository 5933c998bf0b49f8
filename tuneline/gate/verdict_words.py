"""Rules and the whole verdict in words: the sentence that lands in the log, the dashboard and the model card."""

from __future__ import annotations

from collections.abc import Sequence

from tuneline.gate.verdict import Comparison, Outcome, Rule
from tuneline.gate.words import advice_in_words

BROKEN = "The evaluation is broken and proves nothing: "
_OPENINGS = {"FAIL": "The candidate does not pass.", "INCONCLUSIVE": "The evidence is not enough."}


def rule_in_words(rule: Rule, problem: str, has_several: bool) -> str:
    """Say what a rule found, full stops included; with several rules, on which suite.

    Args:
        rule: without its sentence.
        problem: why its comparisons do not decide, or nothing.
        has_several: whether the verdict has other rules.
    """
    where = f"on {rule.suite}, " if has_several else ""
    if problem and rule.outcome == "FAIL":
        return f"{BROKEN}{where}{problem}."
    reasons = problem or ". ".join(c.sentence for c in rule.comparisons if c.outcome == rule.outcome)
    if has_several:
        reasons = f"On {rule.suite}, {reasons[0].lower()}{reasons[1:]}"
    parts = [f"{reasons}."]
    if rule.truncated:
        answers = "1 of its answers was" if rule.truncated == 1 else f"{rule.truncated} of its answers were"
        parts.append(f"{answers} cut off and {'counts' if rule.truncated == 1 else 'count'} as wrong.")
    if not problem and rule.outcome == "INCONCLUSIVE":
        parts.append(advice_in_words(_hardest(rule), rule.role, rule.metric))
    return " ".join(parts)


def verdict_in_words(outcome: Outcome, deciding: Sequence[Rule], rules: Sequence[Rule]) -> str:
    """Say why the verdict is what it is: the first rule that decided in full, the others by name.

    Args:
        outcome: of the verdict.
        deciding: the rules that brought it about, at least one.
        rules: all of them.
    """
    if outcome == "PASS":
        return _passed(deciding, rules)
    lead = next((rule for rule in deciding if rule.sentence.startswith(BROKEN)), deciding[0])
    opening = "" if lead.sentence.startswith(BROKEN) else f"{_OPENINGS[outcome]} "
    others = _listed([rule.suite for rule in deciding if rule is not lead])
    also = (
        "" if not others else f" Nor does it pass on {others}." if outcome == "FAIL" else f" Nor is {others} decided."
    )
    return f"{opening}{lead.sentence}{also}"


def _passed(deciding: Sequence[Rule], rules: Sequence[Rule]) -> str:
    if len(rules) == 1:
        return f"The candidate is proven better. {rules[0].sentence}"
    targets = [rule for rule in deciding if rule.role == "target"]
    kept = _listed([rule.suite for rule in deciding if rule.role == "guard"])
    unproven = _listed([rule.suite for rule in rules if rule not in deciding])
    where = _listed([rule.suite for rule in targets])
    opening = f"The candidate is proven better on {where}"
    opening += f", and no worse than allowed on {kept}" if kept else ""
    opening += f" (not proven better on {unproven}, which one target is enough for)" if unproven else ""
    return f"{opening}. {targets[0].sentence}"


def _hardest(rule: Rule) -> Comparison:
    """The undecided comparison that needs the most questions; None needed is more than any number."""
    undecided = [c for c in rule.comparisons if c.outcome == "INCONCLUSIVE"]
    return max(undecided, key=lambda c: (c.needed_items is None, c.needed_items or 0))


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
