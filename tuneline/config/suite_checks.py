"""What must fit together so that the suites can decide: what is asked, what is measured, and in which role.

Functions and findings are those of ``tuneline.config.checks``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tuneline.config.data import DataConfig, FeedbackSource, FileSource, HubSource, Source, SyntheticSource
from tuneline.config.evaluation import EvaluationConfig
from tuneline.config.gate import GateConfig
from tuneline.config.metrics import metric_name
from tuneline.config.problem import Finding, KeyPath, nearest
from tuneline.config.suites import (
    HeldoutSuite,
    JudgeSuite,
    LatencySuite,
    PromptsSuite,
    QuestionsSuite,
    Suite,
)

_ANSWERED = HeldoutSuite | QuestionsSuite | PromptsSuite
_SUITES: KeyPath = ("evaluation", "suites")


# ---- the suites among themselves ---------------------------------------------------------------------


def suites_are_told_apart(evaluation: EvaluationConfig) -> Iterator[Finding]:
    """Reports and rules go by the name; two suites with the same questions would count them twice."""
    names: dict[str, int] = {}
    parts: dict[str, str] = {}
    for path, suite in _suites(evaluation):
        if names.setdefault(suite.name, int(path[-1])) != path[-1]:
            what = f"is {suite.name}, as that of evaluation.suites.{names[suite.name]} is"
            yield Finding((*path, "name"), what, "a name of its own for each suite")
        elif isinstance(suite, HeldoutSuite) and parts.setdefault(suite.only, suite.name) != suite.name:
            what = f"is {suite.only!r}, which suite {parts[suite.only]} asks already"
            yield Finding((*path, "only"), what, "another pattern, such as kubectl/*, or one suite less")


def something_must_improve(evaluation: EvaluationConfig) -> Iterator[Finding]:
    """Without a target nothing could ever pass."""
    if not any(suite.role == "target" for suite in evaluation.suites):
        what = "has no suite with role target, so there is nothing that a candidate could be better at"
        yield Finding(_SUITES, what, "role: target for at least one suite")


def limits_belong_to_their_role(evaluation: EvaluationConfig) -> Iterator[Finding]:
    """A limit that no rule reads would look like one that holds."""
    for path, suite in _suites(evaluation):
        for key, given, role in (
            ("min_difference", suite.min_difference, "target"),
            ("margin", suite.margin, "guard"),
        ):
            if given is not None and suite.role != role:
                what = f"is given, but the suite's role is {suite.role}: only a {role} has it"
                yield Finding((*path, key), what, f"role: {role}, or no {key}")


def others_questions_are_there(evaluation: EvaluationConfig) -> Iterator[Finding]:
    """Judge and clock take the questions of a suite that the models answer."""
    answered = [suite.name for suite in evaluation.suites if isinstance(suite, _ANSWERED)]
    for path, suite in _suites(evaluation):
        if isinstance(suite, JudgeSuite | LatencySuite) and suite.questions not in answered:
            other = next((s.type for s in evaluation.suites if s.name == suite.questions), None)
            meant = "" if other else nearest(suite.questions, answered)
            what = f"is {suite.questions!r}, " + (
                f"a suite of type {other}, which asks nothing itself" if other else "and no suite has that name"
            )
            allowed = ", ".join(answered) or "the name of a suite of type heldout, questions or prompts"
            yield Finding((*path, "questions"), what + (f"; did you mean {meant}?" if meant else ""), allowed)


# ---- metrics -----------------------------------------------------------------------------------------


def metrics_fit_their_questions(evaluation: EvaluationConfig) -> Iterator[Finding]:
    """Checks are in files of prompts alone, every metric is measured once, and what decides is measured."""
    allowed = "a suite of type prompts, whose rows have checks"
    what = "is check, but only files of prompts have checks"
    lists: list[tuple[KeyPath, Sequence[str] | None, bool]] = [(("evaluation", "metrics"), evaluation.metrics, False)]
    for path, suite in _suites(evaluation):
        if isinstance(suite, _ANSWERED):
            lists.append(((*path, "metrics"), suite.metrics, isinstance(suite, PromptsSuite)))
            measured = evaluation.metrics_of(suite)
            if suite.metric is not None and suite.metric not in measured:
                said = f"is {suite.metric}, which the suite does not measure"
                yield Finding((*path, "metric"), said, ", ".join(measured))
    for path, metrics, has_checks in lists:
        names: dict[str, int] = {}
        for index, metric in enumerate(metrics or ()):
            if metric == "check" and not has_checks:
                yield Finding((*path, index), what, allowed)
            if names.setdefault(metric_name(metric), index) != index:
                yield Finding((*path, index), f"is {metric}, and another one has that name", "each metric once")


def metrics_are_measured(evaluation: EvaluationConfig, gate: GateConfig) -> Iterator[Finding]:
    """Nothing can be decided by a metric that nobody measures."""
    if evaluation.primary not in evaluation.metrics:
        what = f"is {evaluation.primary}, which is not among evaluation.metrics"
        yield Finding(("evaluation", "primary"), what, ", ".join(evaluation.metrics))
    if gate.metric is None:
        return
    heldout = [suite for suite in evaluation.suites if isinstance(suite, HeldoutSuite)]
    if any(evaluation.metric_of(suite, gate.metric) == gate.metric for suite in heldout):
        return
    what, measured = f"is {gate.metric}, which ", [m for suite in heldout for m in evaluation.metrics_of(suite)]
    if not heldout:
        what += "decides on suites of type heldout, and there is none"
    elif gate.metric in measured:
        what += f"would decide on nothing: the suite {heldout[0].name} says {heldout[0].metric}"
    elif all(suite.metrics for suite in heldout):
        what += f"is not among the metrics of the suite {heldout[0].name}"
    else:
        what += "is not among evaluation.metrics"
    allowed = ", ".join(dict.fromkeys(measured)) or "no gate.metric; `metric` of a suite decides on it"
    yield Finding(("gate", "metric"), what, allowed)


# ---- what is asked -----------------------------------------------------------------------------------


def nothing_asked_was_trained_on(data: DataConfig) -> Iterator[Finding]:
    """A question that was trained on measures memory."""
    for index, source in enumerate(data.sources):
        if isinstance(source, SyntheticSource) and source.split == "eval":
            path = ("data", "sources", index, "split")
            yield Finding(path, "is eval: names that must never be trained on", "train")
    yield from _memory(("data", "evaluation", "sources"), data.evaluation.sources or (), data)


def no_suite_was_trained_on(data: DataConfig, evaluation: EvaluationConfig) -> Iterator[Finding]:
    """Neither are the questions that a suite brings along."""
    trained_on = [source.path for source in data.sources if isinstance(source, FileSource)]
    for path, suite in _suites(evaluation):
        if isinstance(suite, QuestionsSuite):
            yield from _memory((*path, "sources"), suite.sources, data)
        if isinstance(suite, PromptsSuite) and suite.path in trained_on:
            what = "is trained on as well, so the suite would measure memory"
            yield Finding((*path, "path"), what, "another file, or one source less in data.sources")


def something_is_answered(evaluation: EvaluationConfig) -> Iterator[Finding]:
    """Golden prompts are answers; a version without them could not be proven in the engine."""
    if not any(isinstance(suite, _ANSWERED) for suite in evaluation.suites):
        what = "has no suite whose questions the models answer, so the served version could not be checked"
        yield Finding(_SUITES, what, "at least one of type heldout, questions or prompts; role: report will do")


def questions_are_enough(data: DataConfig, evaluation: EvaluationConfig, gate: GateConfig) -> Iterator[Finding]:
    """Where the number of questions is known beforehand, it must do for a verdict and for the parity check."""
    most = {suite.name: _most_of(suite, data) for suite in evaluation.suites if isinstance(suite, _ANSWERED)}
    told: set[KeyPath] = set()
    for path, suite in _suites(evaluation):
        if isinstance(suite, JudgeSuite | LatencySuite):
            known, place = _least(suite.limit, most.get(suite.questions)), (*path, "limit")
        else:
            known = most.get(suite.name)
            place = ("data", "evaluation") if isinstance(suite, HeldoutSuite) else path
        least = suite.min_items or gate.min_items
        if suite.role == "report" or known is None or known >= least or place in told:
            continue
        told.add(place)
        own = "gate" if suite.min_items is None else suite.name
        what = f"gives at most {known} questions, but {own}.min_items is {least}: no verdict could be reached"
        yield Finding(place, what, f"at least {least} questions, or a smaller {own}.min_items")
    heldout = [most[suite.name] for suite in evaluation.suites if isinstance(suite, HeldoutSuite)]
    if heldout and heldout[0] is not None and heldout[0] < evaluation.golden_prompts:
        what = f"is {evaluation.golden_prompts}, but data.evaluation gives at most {heldout[0]} questions"
        yield Finding(("evaluation", "golden_prompts"), what, f"at most {heldout[0]}")


def _suites(evaluation: EvaluationConfig) -> Iterator[tuple[KeyPath, Suite]]:
    for index, suite in enumerate(evaluation.suites):
        yield (*_SUITES, index), suite


def _memory(path: KeyPath, asked: Sequence[Source], data: DataConfig) -> Iterator[Finding]:
    trained_on = [place for source in data.sources if (place := _place_of(source))]
    for index, source in enumerate(asked):
        if isinstance(source, SyntheticSource) and source.split == "train":
            yield Finding((*path, index, "split"), "is train: names that are trained on would be asked", "eval")
        if _place_of(source) in trained_on:
            what = "is trained on as well, so the evaluation would measure memory"
            allowed = "another file or split"
            if path[0] == "data":
                allowed += ", or evaluation: {holdout: 0.1}"
            yield Finding((*path, index), what, allowed)


def _place_of(source: Source) -> tuple[str | None, ...] | None:
    if isinstance(source, FileSource):
        return (source.path,)
    if isinstance(source, HubSource):
        return (source.dataset, source.config, source.split)
    if isinstance(source, FeedbackSource):
        return (source.folder,)
    return None


def _most_of(suite: HeldoutSuite | QuestionsSuite | PromptsSuite, data: DataConfig) -> int | None:
    """How many questions a suite has at most, if that is known before they are read."""
    if isinstance(suite, QuestionsSuite):
        return _most(suite.sources)
    if isinstance(suite, PromptsSuite):
        return None
    if data.evaluation.sources is not None:
        return _most(data.evaluation.sources)
    holdout, total = data.evaluation.holdout, _most(data.sources)
    if holdout is not None and holdout >= 1:
        return int(holdout)
    return None if holdout is None or total is None else data.evaluation.holdout_count(total)


def _most(sources: tuple[Source, ...]) -> int | None:
    counts = [s.size if isinstance(s, SyntheticSource) else s.limit for s in sources]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _least(*numbers: int | None) -> int | None:
    return min((number for number in numbers if number is not None), default=None)


SUITE_CHECKS: tuple[Callable[..., Iterator[Finding]], ...] = (
    suites_are_told_apart,
    something_must_improve,
    limits_belong_to_their_role,
    others_questions_are_there,
    metrics_fit_their_questions,
    metrics_are_measured,
    nothing_asked_was_trained_on,
    no_suite_was_trained_on,
    something_is_answered,
    questions_are_enough,
)
