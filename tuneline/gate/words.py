"""A comparison in words that a product owner understands: what was measured, how sure it is, what to do next."""

from __future__ import annotations

import math

from tuneline.config.metrics import MetricSpec, metric_spec
from tuneline.gate.compare import DecidingRole
from tuneline.gate.verdict import Comparison


def comparison_in_words(c: Comparison, role: DecidingRole, metric: str, threshold: float, confidence: float) -> str:
    """Say in one sentence, without its full stop, what a comparison showed."""
    spec = metric_spec(metric)
    if c.wins + c.losses == 0:
        what = "gained" if role == "target" else "lost"
        same = f"On none of the {c.items} questions does its {spec.label} differ from that of {c.label}"
        return f"{same}: nothing was {what}{_hidden(c, role, spec, threshold)}"
    claim = _claim(c, role, spec, threshold)
    but = "but " if c.outcome == "INCONCLUSIVE" else ""
    split = f"better on {c.wins}, worse on {c.losses}, the same on {c.ties}"
    sentence = (
        f"{claim}: {_means(c, spec)}, {_interval(c, spec, f'{but}with {percent(confidence)} confidence')} ({split})"
    )
    if c.outcome == "INCONCLUSIVE" and role == "target" and c.low > threshold:
        sentence += f"; so few changed answers may be luck (probability {c.luck:.0%})"
    return sentence + _hidden(c, role, spec, threshold)


def advice_in_words(c: Comparison, role: DecidingRole, metric: str) -> str:
    """Say how many more questions would settle an undecided comparison, as a sentence of its own."""
    spec = metric_spec(metric)
    if c.needed_items is None:
        limit = "what may be lost" if role == "guard" else "what is asked for"
        return (
            f"More questions would hardly settle it: it lies too close to {limit}. {c.items} questions can prove a "
            f"distance of {_amount(c.detectable, spec)} or more."
        )
    more = about(c.needed_items - c.items)
    kind = "question" if more == 1 else "questions"
    elsewhere = " from new sources" if c.clusters < c.items else ""
    return f"About {more:,} more {kind}{elsewhere} would settle it."


def about(count: int) -> int:
    """Round up to two digits, and to tens: an estimate should not look like a measurement."""
    step = max(10 if count > 20 else 1, int(10 ** (len(str(count)) - 2)))
    return math.ceil(count / step) * step


def percent(share: float) -> str:
    """Write a confidence: ``95%``, ``97.5%``."""
    return f"{100 * share:.4g}%"


def _hidden(c: Comparison, role: DecidingRole, spec: MetricSpec, threshold: float) -> str:
    """What an undecided guard on which little changed may hide."""
    if role != "guard" or c.outcome != "INCONCLUSIVE" or c.low <= threshold:
        return ""
    return (
        f", but so few questions may hide a loss of {_amount(abs(threshold), spec)} (probability {c.hidden_loss:.0%})"
    )


def _claim(c: Comparison, role: DecidingRole, spec: MetricSpec, threshold: float) -> str:
    limit = f" by more than {_amount(abs(threshold), spec)}" if threshold else ""
    if role == "guard":
        return {
            "PASS": f"It is not worse than {c.label}{limit}",
            "FAIL": f"It is worse than {c.label}{limit}",
            "INCONCLUSIVE": f"It is not known whether it is worse than {c.label}{limit}",
        }[c.outcome]
    if c.outcome == "PASS":
        return f"It is better than {c.label}{limit}"
    if c.outcome == "INCONCLUSIVE":
        return f"It is not known whether it is better than {c.label}{limit}"
    if c.difference >= 0:
        return f"It is not better than {c.label}{limit}"
    return f"It {'is' if c.high < 0 else 'did'} worse than {c.label}"


def _means(c: Comparison, spec: MetricSpec) -> str:
    if spec.name == "preference":
        return f"the judge preferred it on {c.candidate_mean:.1%} of {c.items} questions, ties half"
    if spec.unit == "points":
        own, other = 100 * c.candidate_mean, 100 * c.opponent_mean
        return f"{own:.1f} against {other:.1f} of 100 points of {spec.label} on {c.items} questions"
    return f"{spec.label} {c.candidate_mean:.4g} against {c.opponent_mean:.4g} {spec.unit} on {c.items} questions"


def _interval(c: Comparison, spec: MetricSpec, sure: str) -> str:
    if spec.unit == "points":
        return f"{_signed(c.difference)}, {sure} between {_signed(c.low)} and {_signed(c.high)} points"
    # Of length or time a plus would read as more of it, so it is said.
    return f"{_less(c.difference, spec)}, {sure} between {_less(c.high, spec)} and {_less(c.low, spec)}"


def _less(gain: float, spec: MetricSpec) -> str:
    amount = f"{abs(gain):.1%}" if spec.relative else f"{abs(gain):.3f}"
    return f"{amount} {'less' if gain >= 0 else 'more'}"


def _signed(value: float) -> str:
    return "0.0" if abs(value) < 0.0005 else f"{100 * value:+.1f}"


def _amount(value: float, spec: MetricSpec) -> str:
    """A distance with its unit: ``2.0 points``, ``10.0%``, ``0.05 nats per token``."""
    if spec.relative:
        return f"{value:.1%}"
    return f"{100 * value:.1f} points" if spec.unit == "points" else f"{value:.3g} {spec.unit}"
