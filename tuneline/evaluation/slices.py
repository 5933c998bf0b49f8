"""Where a candidate is better and where it is worse: the questions by source, by length, by what is asked for.

A mean over a suite hides a family of questions that got worse. No slice decides anything: with so many of
them some look bad by luck alone. They say where to read.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from tuneline.config.metrics import metric_spec
from tuneline.evaluation.pairs import PREFERENCE, gains, opponent_of, scores
from tuneline.evaluation.report import EvaluationItem, Role, SuiteReport

Kind = Literal["source", "length", "intent"]
_INTENTS = 12
_OTHER = "other"


@dataclass(frozen=True)
class Slice:
    """Some questions of a suite.

    Attributes:
        kind: what they have in common: ``source``, ``length`` of the question, ``intent`` (its first word).
        name: which source, which length with its bounds, which word.
        items: how many there are.
        means: of each subject, in the metric's unit; of a judge's preference the share of items won.
        difference: how much better the candidate is than the champion (without one, than the base model), turned
            so that more is better; of a relative metric a share of the opponent's mean. None if it is not known.
    """

    kind: Kind
    name: str
    items: int
    means: dict[Role, float]
    difference: float | None


@dataclass(frozen=True)
class _Scored:
    """What every slice takes its part of."""

    metric: str
    opponent: Role | None
    gains: dict[str, float]
    scores: dict[Role, dict[str, float]]


def slices(suite: SuiteReport, metric: str) -> list[Slice]:
    """Every slice of a suite: sources, then lengths from short to long, then intents.

    Sources and intents begin with the one where the candidate lost most; the intent ``other`` comes last.
    """
    opponent = opponent_of(suite)
    scored = _Scored(
        metric=metric,
        opponent=opponent,
        gains=gains(suite, metric, opponent) if opponent else {},
        scores={subject.role: scores(suite, subject.role, metric) for subject in suite.subjects},
    )
    return [
        *_worst_first([_slice(scored, "source", *group) for group in _by_source(suite).items()]),
        *(_slice(scored, "length", *group) for group in _by_length(suite).items()),
        *_worst_first([_slice(scored, "intent", *group) for group in _by_intent(suite).items()]),
    ]


def intent(item: EvaluationItem) -> str:
    """The first word of the last user message, lower-cased, letters only; ``other`` if it has none."""
    asked = next((message.content for message in reversed(item.messages) if message.role == "user"), "")
    words = ("".join(filter(_is_letter, word)).lower() for word in asked.split())
    return next((word for word in words if word), _OTHER)


def _is_letter(character: str) -> bool:
    return unicodedata.category(character)[0] in "LM"  # marks too: in many scripts they are the vowels


def _by_source(suite: SuiteReport) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for item in suite.items:
        groups.setdefault(item.source, []).append(item.id)
    return groups


def _by_length(suite: SuiteReport) -> dict[str, list[str]]:
    """Terciles of the prompt's tokens, of its characters where tokens were not counted. Equal lengths stay together."""
    subject = suite.subject("candidate")
    tokens = {result.id: result.prompt_tokens for result in subject.results} if subject else {}
    unit = "tokens"
    if not all(tokens.get(item.id) for item in suite.items):
        tokens = {item.id: sum(len(message.content) for message in item.messages) for item in suite.items}
        unit = "characters"
    ordered = sorted(tokens[item.id] for item in suite.items)
    if not ordered:
        return {}
    last = len(ordered) - 1
    bounds = (ordered[last // 3], ordered[2 * last // 3])
    groups: dict[str, list[str]] = {"short": [], "middle": [], "long": []}
    for item in suite.items:
        length = tokens[item.id]
        groups["short" if length <= bounds[0] else "middle" if length <= bounds[1] else "long"].append(item.id)
    named = {}
    for name, own in groups.items():
        if own:
            least, most = min(tokens[item] for item in own), max(tokens[item] for item in own)
            named[f"{name} ({f'{least:,}' if least == most else f'{least:,} to {most:,}'} {unit})"] = own
    return named


def _by_intent(suite: SuiteReport) -> dict[str, list[str]]:
    """The most frequent first words. One that occurs once is a name or a whole sentence, and no intent."""
    words = {item.id: intent(item) for item in suite.items}
    frequent = {word for word, count in Counter(words.values()).most_common(_INTENTS) if count > 1}
    groups: dict[str, list[str]] = {}
    for item in suite.items:
        groups.setdefault(words[item.id] if words[item.id] in frequent else _OTHER, []).append(item.id)
    return groups


def _slice(scored: _Scored, kind: Kind, name: str, items: list[str]) -> Slice:
    opponent = scored.opponent
    own = [scored.gains[item] for item in items if item in scored.gains]
    means: dict[Role, float] = {}
    if scored.metric == PREFERENCE and opponent and own:
        means = {opponent: fmean(gain < 0 for gain in own), "candidate": fmean(gain > 0 for gain in own)}
    for role, found in scored.scores.items():
        if values := [found[item] for item in items if item in found]:
            means[role] = fmean(values)
    difference = fmean(own) if own else None
    if difference is not None and opponent and metric_spec(scored.metric).relative:
        difference = difference / means[opponent] if means[opponent] else None
    return Slice(kind, name, len(items), means, difference)


def _worst_first(found: list[Slice]) -> list[Slice]:
    return sorted(
        found,
        key=lambda part: (
            part.kind == "intent" and part.name == _OTHER,
            math.inf if part.difference is None else part.difference,
            part.name,
        ),
    )
