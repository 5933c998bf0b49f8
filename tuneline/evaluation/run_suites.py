"""Each kind of suite to its report: the answers are there, or are got here.

The subjects of one report may have different weights, which are in memory one after the other: ``run_suite`` measures
the subjects of one set of weights, ``whole_suite`` puts them together and asks the judge, who needs all of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tuneline.config.metrics import metric_name
from tuneline.config.suites import (
    HeldoutSuite,
    JudgeSuite,
    LatencySuite,
    LmEvalSuite,
    PromptsSuite,
    QuestionsSuite,
    Suite,
)
from tuneline.evaluation.ask import Asked, Subject
from tuneline.evaluation.engines.engine import Engine
from tuneline.evaluation.latency import timed
from tuneline.evaluation.perplexity import reference_nll
from tuneline.evaluation.report import EvaluationItem, ItemResult, Preferences, Role, SubjectResult, SuiteReport
from tuneline.evaluation.sample import evenly
from tuneline.evaluation.scoring import scored, to_result
from tuneline.evaluation.subjects import switched_to
from tuneline.evaluation.suites.judge import judge
from tuneline.evaluation.suites.lm_eval_tasks import LmEvalAnswers, run_lm_eval

if TYPE_CHECKING:
    from tuneline.config import EvaluationConfig, GateConfig


ROLES: tuple[Role, ...] = ("base", "champion", "candidate")


@dataclass(frozen=True)
class Evaluators:
    """All that a suite may need.

    Attributes:
        model: the base model with the adapters loaded, or a whole model.
        tokenizer: its tokenizer.
        reference: transformers on that model.
        evaluation, gate: the config's sections.
        subjects: who answers with these weights, of base, champion and candidate.
        questions: the items of each suite that has some.
        asked: their answers.
        tell: told in words how far it is.
    """

    model: PreTrainedModel | PeftModel
    tokenizer: PreTrainedTokenizerBase
    reference: Engine
    evaluation: EvaluationConfig
    gate: GateConfig
    subjects: Sequence[Subject]
    questions: Mapping[str, Sequence[EvaluationItem]]
    asked: Asked
    tell: Callable[[str], None]


def run_suite(suite: Suite, e: Evaluators) -> SuiteReport:
    """Measure one suite, as far as these weights' subjects go; a judge is not asked yet.

    Raises:
        UserError: something that only the user can mend: a judge that cannot be reached, an unknown task.
        TunelineError: something broke.
    """
    e.tell(f"suite {suite.name}")
    if isinstance(suite, JudgeSuite):
        return _to_judge(suite, e)
    if isinstance(suite, LatencySuite):
        return _timed(suite, e)
    if isinstance(suite, LmEvalSuite):
        return _lm_eval(suite, e)
    return _answered(suite, e)


def _answered(suite: HeldoutSuite | QuestionsSuite | PromptsSuite, e: Evaluators) -> SuiteReport:
    metrics, items = e.evaluation.metrics_of(suite), e.questions[suite.name]
    results = []
    for subject in e.subjects:
        with switched_to(e.model, subject.role):
            own = scored(
                e.tokenizer,
                subject,
                items,
                e.asked.prompts[suite.name, subject.role],
                e.asked.of(suite.name, subject.role),
                metrics,
                lambda prompts, references: reference_nll(e.model, prompts, references, e.evaluation.batch_size),
            )
        results.append(_result(subject, own, e.asked.seconds_of(suite.name, subject.role)))
    return SuiteReport(
        primary=metric_name(e.evaluation.metric_of(suite, e.gate.metric)),
        metrics=tuple(map(metric_name, metrics)),
        items=tuple(items),
        subjects=tuple(results),
        **_rule(suite),
    )


def whole_suite(suite: Suite, parts: Sequence[SuiteReport], tell: Callable[[str], None]) -> SuiteReport:
    """Put the subjects of all weights together, and have a judge compare them.

    Args:
        suite: as in the config.
        parts: from ``run_suite``, one for each set of weights.
        tell: told in words how far it is.

    Raises:
        UserError: the judge cannot be reached.
        TunelineError: something broke.
    """
    subjects = sorted((s for part in parts for s in part.subjects), key=lambda subject: ROLES.index(subject.role))
    whole = parts[-1].model_copy(update={"subjects": tuple(subjects)})
    if isinstance(suite, JudgeSuite):
        return _judged(suite, whole, tell)
    if isinstance(suite, LatencySuite) and len(parts) > 1:
        note = "Asked one by one, one model after the other: a busy moment may have hit one of them alone. "
        return whole.model_copy(update={"note": note + "Answered by transformers."})
    return whole


def _to_judge(suite: JudgeSuite, e: Evaluators) -> SuiteReport:
    asked = e.questions[suite.questions]
    places = evenly(len(asked), suite.limit)
    items = [asked[place] for place in places]
    results = [_result(subject, _unscored(suite.questions, places, items, subject, e), 0.0) for subject in e.subjects]
    return SuiteReport(
        primary="preference",
        metrics=("preference",),
        items=tuple(items),
        subjects=tuple(results),
        **_rule(suite),
    )


def _judged(suite: JudgeSuite, unjudged: SuiteReport, tell: Callable[[str], None]) -> SuiteReport:
    items, results = unjudged.items, unjudged.subjects
    texts: dict[Role, list[str]] = {r.role: [answer.completion for answer in r.results] for r in results}
    opponents: list[Role] = [subject.role for subject in results if subject.role != "candidate"]
    failed = {n for r in results for n, result in enumerate(r.results) if result.error}
    preferences = tuple(
        _without(
            judge(
                items, texts["candidate"], texts[opponent], suite, opponent, partial(_judging, tell, suite, opponent)
            ),
            failed,
        )
        for opponent in opponents
    )
    agreement = ", ".join(f"{found.agreement:.0%} beside the {found.opponent}" for found in preferences)
    note = f"{suite.model} was asked in both orders and came to the same result: {agreement}."
    return unjudged.model_copy(update={"preferences": preferences, "note": note})


def _without(found: Preferences, failed: set[int]) -> Preferences:
    """No answer cannot be preferred to anything, and is no reason to prefer the other."""
    values = tuple(math.nan if place in failed else value for place, value in enumerate(found.values))
    return found.model_copy(update={"values": values})


def _judging(tell: Callable[[str], None], suite: JudgeSuite, opponent: Role, done: int) -> None:
    tell(f"suite {suite.name}: {done} pairs judged beside the {opponent}")


def _timed(suite: LatencySuite, e: Evaluators) -> SuiteReport:
    asked = e.questions[suite.questions]
    places = evenly(len(asked), suite.limit)
    items = [asked[place] for place in places]
    prompts = {s.role: [e.asked.prompts[suite.questions, s.role][place] for place in places] for s in e.subjects}
    times = timed(e.reference, prompts)
    results = []
    for subject in e.subjects:
        own = tuple(
            to_result(e.tokenizer, subject, item, prompt, answer, {"latency": seconds})
            for item, prompt, (answer, seconds) in zip(items, prompts[subject.role], times[subject.role], strict=True)
        )
        results.append(_result(subject, own, sum(seconds for _, seconds in times[subject.role])))
    return SuiteReport(
        primary="latency",
        metrics=("latency",),
        items=tuple(items),
        subjects=tuple(results),
        note="Asked one by one and in turn, answered by transformers.",
        **_rule(suite),
    )


def _lm_eval(suite: LmEvalSuite, e: Evaluators) -> SuiteReport:
    found = []
    for subject in e.subjects:
        e.tell(f"suite {suite.name}: the {subject.role} answers {', '.join(suite.tasks)}")
        started = time.perf_counter()
        with switched_to(e.model, subject.role):
            answers = run_lm_eval(e.model, e.tokenizer, suite, e.evaluation.batch_size)
        found.append((subject, answers, time.perf_counter() - started))
    _, first, _ = found[0]
    return SuiteReport(
        primary=first.primary,
        metrics=tuple(first.scores),
        items=first.items,
        subjects=tuple(_result(s, _sampled(answers), seconds) for s, answers, seconds in found),
        note="Asked as lm-eval asks, without the prompt template.",
        **_rule(suite),
    )


def _sampled(answers: LmEvalAnswers) -> tuple[ItemResult, ...]:
    """lm-eval counts no tokens."""
    return tuple(
        ItemResult(
            id=item.id,
            completion=answers.completions[place],
            scores={metric: values[place] for metric, values in answers.scores.items()},
            prompt_tokens=0,
            completion_tokens=0,
            finished=True,
        )
        for place, item in enumerate(answers.items)
    )


def _unscored(
    suite: str, places: Sequence[int], items: Sequence[EvaluationItem], subject: Subject, e: Evaluators
) -> tuple[ItemResult, ...]:
    answers, prompts = e.asked.of(suite, subject.role), e.asked.prompts[suite, subject.role]
    return tuple(
        to_result(e.tokenizer, subject, item, prompts[place], answers[place])
        for place, item in zip(places, items, strict=True)
    )


def _result(subject: Subject, results: tuple[ItemResult, ...], seconds: float) -> SubjectResult:
    return SubjectResult(
        role=subject.role,
        version=subject.version,
        adapter_sha256=subject.sha256,
        prompt=subject.prompt,
        results=results,
        seconds=seconds,
    )


def _rule(suite: Suite) -> dict[str, Any]:
    return {
        "name": suite.name,
        "kind": suite.type,
        "role": suite.role,
        "min_difference": suite.min_difference,
        "margin": suite.margin,
        "min_items": suite.min_items,
    }
