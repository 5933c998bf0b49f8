"""Two versions side by side: what both were asked, taken from the report of each.

Versions are rarely evaluated in one run. Their answers can be compared all the same where both were asked
the same question, the right answer was the same, and it was measured in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tuneline.errors import UserError
from tuneline.evaluation.report import EvaluationItem, EvaluationReport, ItemResult, SubjectResult, SuiteReport

_LEAST = 2  # items: a mean difference needs two


@dataclass(frozen=True)
class SideBySide:
    """A report in which another version stands in the champion's place.

    Attributes:
        report: the shared questions, suite by suite.
        left_out: what could not be compared and why, in sentences.
    """

    report: EvaluationReport
    left_out: tuple[str, ...] = ()


def side_by_side(newer: EvaluationReport, name: str, other: EvaluationReport, other_name: str) -> SideBySide:
    """Put a version's answers beside those of another version, on the questions that both were asked.

    Args:
        newer: the report of the version that stands as candidate.
        name: that version.
        other: the report of the version that stands as champion.
        other_name: that version.

    Raises:
        UserError: they share too few questions.
    """
    if all((met := suite.subject("champion")) is not None and met.version == other_name for suite in newer.suites):
        # It was the champion when the newer one was evaluated: both were asked everything, in one run.
        return SideBySide(report=newer.model_copy(update={"suites": tuple(_named(s, name) for s in newer.suites)}))
    suites: list[SuiteReport] = []
    left_out: list[str] = []
    for suite in newer.suites:
        joined, why = _joined(suite, other.suite(suite.name), name, other_name, newer.base_model == other.base_model)
        if why:
            left_out.append(f"{suite.name}: {why}.")
        if joined is not None:
            suites.append(joined)
    left_out += [
        f"{suite.name}: version {name} was not asked it." for suite in other.suites if newer.suite(suite.name) is None
    ]
    if not suites:
        raise UserError(
            f"versions {name} and {other_name} cannot be compared, they share too few questions: {' '.join(left_out)}",
            hint="Train with the same data.evaluation and evaluation.suites, or read each version's own report: "
            f"`python run.py report {name}`.",
        )
    left_out += _different_conditions(newer, other, name, other_name)
    report = newer.model_copy(update={"suites": tuple(suites), "golden": (), "agreement": None})
    return SideBySide(report=report, left_out=tuple(left_out))


def _named(suite: SuiteReport, candidate: str) -> SuiteReport:
    """The suite with the version that its candidate became."""
    subjects = (s.model_copy(update={"version": candidate}) if s.role == "candidate" else s for s in suite.subjects)
    return suite.model_copy(update={"subjects": tuple(subjects)})


def _joined(
    suite: SuiteReport, other: SuiteReport | None, name: str, other_name: str, same_base: bool
) -> tuple[SuiteReport | None, str]:
    """The suite on the shared questions, and what is missing from it; None if nothing can be compared."""
    if other is None:
        return None, f"version {other_name} was not asked it"
    if suite.kind in ("judge", "latency") or other.kind != suite.kind:
        return None, _INCOMPARABLE.get(suite.kind, f"it is {suite.kind} for {name} and {other.kind} for {other_name}")
    metrics = tuple(metric for metric in suite.metrics if metric in other.metrics)
    if suite.primary not in metrics:
        return None, f"version {other_name} was not measured by {suite.primary}"
    candidate, champion = suite.subject("candidate"), other.subject("candidate")
    if candidate is None or champion is None:
        return None, "one of them did not answer"
    answers, beside = _by_id(candidate), _by_id(champion)
    known = {item.id: _question(item) for item in other.items}
    shared = [
        item
        for item in suite.items
        if known.get(item.id) == _question(item) and item.id in answers and item.id in beside
    ]
    most = max(len(suite.items), len(other.items))
    same_names = sum(item.id in known for item in suite.items)
    why = f"{len(shared):,} of {most:,} questions are the same in both"
    if same_names > len(shared):
        why += f", {same_names - len(shared):,} have the same id but not the same text or right answer"
    if len(shared) < _LEAST:
        return None, why
    subjects = [
        _subject(champion, "champion", other_name, shared, beside),
        _subject(candidate, "candidate", name, shared, answers),
    ]
    base = suite.subject("base")
    if base is not None and same_base and (of_base := _by_id(base)).keys() >= {item.id for item in shared}:
        subjects.insert(0, base.model_copy(update={"results": tuple(of_base[item.id] for item in shared)}))
    joined = suite.model_copy(
        update={"items": tuple(shared), "subjects": tuple(subjects), "metrics": metrics, "preferences": ()}
    )
    return joined, "" if len(shared) == most else why


_INCOMPARABLE = {
    "judge": "a judge compares pairs of answers, and did not see this pair",
    "latency": "times that were taken in different runs say little about the versions",
}


def _question(item: EvaluationItem) -> tuple[object, ...]:
    """What must be the same for a score to mean the same."""
    messages = [(message.role, message.content) for message in item.messages]
    return messages, item.reference, item.checks, item.tools


def _by_id(subject: SubjectResult) -> dict[str, ItemResult]:
    return {result.id: result for result in subject.results}


def _subject(
    subject: SubjectResult, role: str, version: str, items: Sequence[EvaluationItem], results: dict[str, ItemResult]
) -> SubjectResult:
    own = tuple(results[item.id] for item in items)
    return subject.model_copy(update={"role": role, "version": version, "results": own})


def _different_conditions(newer: EvaluationReport, other: EvaluationReport, name: str, other_name: str) -> list[str]:
    """What else than the version may be behind a difference."""
    pairs = {
        "base model": (newer.base_model, other.base_model),
        "engine": (newer.engine, other.engine),
        "longest answer": (newer.decoding.max_new_tokens, other.decoding.max_new_tokens),
        "dtype": (newer.decoding.dtype, other.decoding.dtype),
        "quantization": (newer.decoding.quantization or "none", other.decoding.quantization or "none"),
    }
    return [
        f"Not answered under the same conditions: {what} {one} for version {name}, {two} for version {other_name}."
        for what, (one, two) in pairs.items()
        if one != two
    ]
