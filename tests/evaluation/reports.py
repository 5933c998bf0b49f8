"""Evaluation reports made of nothing but scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tuneline.evaluation.report import (
    Decoding,
    EvaluationItem,
    EvaluationReport,
    ItemResult,
    Preferences,
    Role,
    SubjectResult,
    SuiteReport,
)


def report_of(scores: Mapping[Role, Sequence[float]], sources: Sequence[str] | None = None) -> EvaluationReport:
    """A report of one suite, in which every subject has the given scores of exact match."""
    return report_with(suite_of(scores, sources=sources))


def report_with(*suites: SuiteReport) -> EvaluationReport:
    """A report of the given suites."""
    return EvaluationReport(base_model="tiny", decoding=Decoding(max_new_tokens=16, batch_size=4), suites=suites)


def suite_of(
    scores: Mapping[Role, Sequence[float]],
    name: str = "heldout",
    *,
    metric: str = "exact_match",
    sources: Sequence[str] | None = None,
    **more: Any,
) -> SuiteReport:
    """A suite in which every subject has the given scores; a target unless ``role`` says otherwise."""
    return SuiteReport(
        name=name,
        primary=metric,
        metrics=(metric,),
        items=items_of(sources or ["git/log"] * len(next(iter(scores.values())))),
        subjects=tuple(subject_of(role, values, metric) for role, values in scores.items()),
        **more,
    )


def judged(
    over: Mapping[Role, Sequence[float]], name: str = "judge", sources: Sequence[str] | None = None, **more: Any
) -> SuiteReport:
    """A suite in which a judge gave the candidate these preferences over its opponents."""
    items = items_of(sources or ["git/log"] * len(next(iter(over.values()))))
    answers = tuple(subject_of(role, [None] * len(items), "preference") for role in (*over, "candidate"))
    preferences = tuple(
        Preferences(opponent=role, values=tuple(values), agreement=1.0) for role, values in over.items()
    )
    return SuiteReport(
        name=name,
        kind="judge",
        primary="preference",
        metrics=("preference",),
        items=items,
        subjects=answers,
        preferences=preferences,
        **more,
    )


def items_of(sources: Sequence[str]) -> tuple[EvaluationItem, ...]:
    """One question per source given."""
    return tuple(
        EvaluationItem(
            id=f"i{n}",
            source=source,
            messages=({"role": "user", "content": f"Question {n}?"},),
            reference=f"right {n}",
        )
        for n, source in enumerate(sources)
    )


def subject_of(role: Role, scores: Sequence[float | None], metric: str = "exact_match") -> SubjectResult:
    """Who answered, with one answer per score; None leaves the score out."""
    return SubjectResult(
        role=role,
        version=None if role == "base" else "3" if role == "champion" else "candidate",
        results=tuple(
            ItemResult(
                id=f"i{n}",
                completion=f"{role} says {n}",
                scores={} if value is None else {metric: value},
                prompt_tokens=5,
                completion_tokens=4,
                finished=True,
            )
            for n, value in enumerate(scores)
        ),
    )
