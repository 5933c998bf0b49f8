"""Suites, reports and verdicts made by hand, for the pages that show them."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from tuneline.data.records import Message
from tuneline.evaluation.report import (
    Decoding,
    EvaluationItem,
    EvaluationReport,
    ItemResult,
    Role,
    SubjectResult,
    SuiteReport,
)
from tuneline.gate.verdict import Comparison, Rule, Verdict

VOID = {"meta", "br", "img"}  # what HTML itself never closes


class Page(HTMLParser):
    """The text of a page and its tags; refuses tags that are not closed in their order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: list[str] = []
        self._open: list[str] = []
        self._text: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []
        self.text = " ".join(" ".join(self._text).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> closes what is not open"

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self._text.append(data)


def item_of(number: int, question: str = "", source: str = "git/log", **changed: Any) -> EvaluationItem:
    """A question with its right answer."""
    messages = (Message(role="user", content=question or f"Question {number}?"),)
    given = {"id": f"i{number}", "source": source, "messages": messages, "reference": f"right {number}"}
    return EvaluationItem(**(given | changed))


def suite_of(
    scores: dict[Role, list[float]],
    *,
    name: str = "heldout",
    metric: str = "exact_match",
    items: list[EvaluationItem] | None = None,
    tokens: list[int] | None = None,
    **changed: Any,
) -> SuiteReport:
    """A suite in which every subject has the given scores of one metric."""
    count = len(next(iter(scores.values())))
    items = items or [item_of(number) for number in range(count)]
    subjects = []
    for role, values in scores.items():
        results = tuple(
            ItemResult(
                id=item.id,
                completion=f"{role} says {place}",
                scores={metric: value},
                prompt_tokens=tokens[place] if tokens else 5,
                completion_tokens=4,
                finished=True,
            )
            for place, (item, value) in enumerate(zip(items, values, strict=True))
        )
        version = {"base": None, "champion": "3", "candidate": "candidate"}[role]
        subjects.append(SubjectResult(role=role, version=version, results=results))
    given = {"name": name, "primary": metric, "metrics": (metric,), "items": tuple(items), "subjects": tuple(subjects)}
    return SuiteReport(**(given | changed))


def report_with(*suites: SuiteReport, **changed: Any) -> EvaluationReport:
    """A report of suites."""
    decoding = Decoding(max_new_tokens=16, batch_size=4)
    return EvaluationReport(**({"base_model": "tiny", "decoding": decoding, "suites": suites} | changed))


def comparison_of(difference: float = 0.2, half: float = 0.1, **changed: Any) -> Comparison:
    """A comparison with the champion that passed."""
    ends = {"low": difference - half, "high": difference + half}
    given = {
        "opponent": "champion",
        "opponent_version": "3",
        "items": 100,
        "clusters": 100,
        "candidate_mean": 0.7,
        "opponent_mean": 0.5,
        "difference": difference,
        "wins": 31,
        "losses": 7,
        "ties": 62,
        "luck": 0.001,
        "p_value": 0.002,
        "detectable": 0.0321,
        "needed_items": None,
        "outcome": "PASS",
        "sentence": "It is better.",
        **ends,
        **{f"percentile_{end}": value for end, value in ends.items()},
    }
    return Comparison(**(given | changed))


def rule_of(*comparisons: Comparison, **changed: Any) -> Rule:
    """A target on exact match."""
    given = {
        "suite": "heldout",
        "role": "target",
        "metric": "exact_match",
        "threshold": 0.0,
        "items": 100,
        "comparisons": comparisons,
        "p_value": 0.002,
        "adjusted_p": 0.004,
        "confidence": 0.95,
        "outcome": "PASS",
        "sentence": "It is better.",
    }
    return Rule(**(given | changed))


def verdict_of(*rules: Rule, **changed: Any) -> Verdict:
    """A verdict of rules."""
    given = {
        "outcome": "PASS",
        "sentence": "The candidate is proven better. It beats the champion.",
        "rules": rules,
        "confidence": 0.95,
        "resamples": 10_000,
        "seed": 7,
        "min_items": 50,
        "targets": "all",
        "power": 0.8,
    }
    return Verdict(**(given | changed))
