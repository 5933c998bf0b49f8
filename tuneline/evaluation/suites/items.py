"""The questions of every suite that the models answer, read and refused before anything is trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from tuneline.config.data import DataConfig
from tuneline.config.evaluation import EvaluationConfig
from tuneline.config.gate import GateConfig
from tuneline.config.problem import nearest
from tuneline.config.suites import HeldoutSuite, JudgeSuite, LatencySuite, PromptsSuite, QuestionsSuite
from tuneline.data.dataset import ChatDataset, combine
from tuneline.data.load import read_source
from tuneline.data.records import ChatRecord
from tuneline.data.split import check_leaks, remove_duplicates
from tuneline.errors import UserError
from tuneline.evaluation.report import EvaluationItem
from tuneline.evaluation.sample import evenly
from tuneline.evaluation.suites.prompts import as_record, read_prompts

Items = tuple[EvaluationItem, ...]


def load_suites(
    evaluation: EvaluationConfig, data: DataConfig, training_set: ChatDataset, evaluation_set: ChatDataset
) -> dict[str, Items]:
    """Read the questions of the suites of types heldout, questions and prompts.

    Nothing here needs a model, so it can be called before training to refuse what would fail after it.

    Args:
        evaluation: the suites.
        data: how many rows of a source may be unusable.
        training_set: what is trained on; no suite may ask it.
        evaluation_set: the questions of ``data.evaluation``.

    Returns:
        By the suite's name at least one item, in the order of the config. Other types of suites are not in it:
        judge and latency take the items of another suite, lm-eval brings its own.

    Raises:
        UserError: a file is missing or broken, a suite has no question, or one of its prompts occurs in training.
    """
    found: dict[str, Items] = {}
    for suite in evaluation.suites:
        if isinstance(suite, HeldoutSuite):
            found[suite.name] = _heldout(suite, evaluation_set)
        elif isinstance(suite, QuestionsSuite):
            asked = combine([read_source(source, data.max_quarantined_share) for source in suite.sources])
            found[suite.name] = _items(remove_duplicates(asked)[0].records)
        elif isinstance(suite, PromptsSuite):
            found[suite.name] = read_prompts(Path(suite.path), evaluation.metrics_of(suite), suite.name)
    for name, items in found.items():
        check_leaks(training_set, ChatDataset(records=[as_record(item) for item in items]), name)
    return found


def check_sizes(found: Mapping[str, Items], evaluation: EvaluationConfig, gate: GateConfig) -> None:
    """Refuse suites that decide and are too small for any verdict.

    Args:
        found: what ``load_suites`` gave.
        evaluation: the suites; those of judge and clock have as many items as the suite they ask, up to their limit.
        gate: what a verdict needs.

    Raises:
        UserError: a target or guard has fewer questions than it needs; all of them are told.
    """
    small = []
    for suite in evaluation.suites:
        items = found.get(suite.questions if isinstance(suite, JudgeSuite | LatencySuite) else suite.name)
        if items is None or suite.role == "report":
            continue
        count = len(evenly(len(items), suite.limit)) if isinstance(suite, JudgeSuite | LatencySuite) else len(items)
        least = suite.min_items or gate.min_items
        if count < least:
            small.append(f"{suite.name} ({suite.role}) has {count} of {least}")
    if small:
        raise UserError(
            f"Too few questions for a verdict: {', '.join(small)} that it needs (min_items).",
            hint="Bring more questions, set role: report, or lower the suite's min_items or gate.min_items.",
        )


def _heldout(suite: HeldoutSuite, evaluation_set: ChatDataset) -> Items:
    chosen = [record for record in evaluation_set.records if fnmatchcase(record.source, suite.only)]
    if chosen:
        return _items(chosen)
    if not evaluation_set.records:
        raise UserError("The evaluation set is empty.", hint="Give data.evaluation a holdout or sources with records.")
    sources = Counter(record.source for record in evaluation_set.records)
    meant = nearest(suite.only, sources)
    shown = ", ".join(name for name, _ in sources.most_common(8)) + (", …" if len(sources) > 8 else "")
    raise UserError(
        f"The suite {suite.name!r} has no questions: no source in data.evaluation matches only: {suite.only!r}; "
        f"there are {shown}.",
        hint=f"Did you mean {meant!r}?" if meant else "Change `only`, for example to '*', which matches all.",
    )


def _items(records: Sequence[ChatRecord]) -> Items:
    return tuple(
        EvaluationItem(
            id=record.id,
            source=record.source,
            messages=tuple(record.prompt),
            reference=record.reference,
            tools=tuple(record.tools) if record.tools else None,
        )
        for record in records
    )
