"""Evaluation reports made of nothing but scores."""

from __future__ import annotations

from tuneline.evaluation.report import (
    Decoding,
    EvaluationItem,
    EvaluationReport,
    ItemResult,
    Role,
    SubjectResult,
)


def report_of(scores: dict[Role, list[float]], sources: list[str] | None = None) -> EvaluationReport:
    """A report in which every subject has the given scores of exact match."""
    count = len(next(iter(scores.values())))
    sources = sources or ["git/log"] * count
    return EvaluationReport(
        base_model="tiny",
        primary="exact_match",
        metrics=("exact_match",),
        decoding=Decoding(max_new_tokens=16, batch_size=4),
        items=tuple(
            EvaluationItem(
                id=f"i{n}",
                source=sources[n],
                messages=({"role": "user", "content": f"Question {n}?"},),  # type: ignore[arg-type]
                reference=f"right {n}",
            )
            for n in range(count)
        ),
        subjects=tuple(
            SubjectResult(
                role=role,
                version=None if role == "base" else "3" if role == "champion" else "candidate",
                results=tuple(
                    ItemResult(
                        id=f"i{n}",
                        completion=f"{role} says {n}",
                        scores={"exact_match": value},
                        prompt_tokens=5,
                        completion_tokens=4,
                        finished=True,
                    )
                    for n, value in enumerate(values)
                ),
            )
            for role, values in scores.items()
        ),
    )
