"""The part of an evaluation that one set of weights answers, and all parts as one report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tuneline.config.suites import HeldoutSuite, PromptsSuite, QuestionsSuite
from tuneline.evaluation.ask import Asked, Subject, ask, render_all
from tuneline.evaluation.engines.agreement import agreement
from tuneline.evaluation.engines.transformers_engine import TransformersEngine, stop_ids
from tuneline.evaluation.golden import OwnAnswer, golden_prompts, own_answers
from tuneline.evaluation.report import Decoding, EngineAgreement, EvaluationItem, EvaluationReport, SuiteReport
from tuneline.evaluation.run_suites import Evaluators, run_suite, whole_suite
from tuneline.evaluation.sample import evenly
from tuneline.evaluation.subjects import AdapterSubject, with_adapters
from tuneline.release.parity import GoldenPrompt

if TYPE_CHECKING:
    from tuneline.config import EvaluationConfig, GateConfig, ServingConfig


@dataclass(frozen=True)
class Task:
    """What is the same for all weights.

    Attributes:
        evaluation, gate, serving: the config's sections.
        questions: the items of each suite that has some.
        subjects: base, champion if there is one, candidate.
        tell: told in words how far it is.
    """

    evaluation: EvaluationConfig
    gate: GateConfig
    serving: ServingConfig
    questions: Mapping[str, Sequence[EvaluationItem]]
    subjects: Sequence[Subject]
    tell: Callable[[str], None]


@dataclass(frozen=True)
class Part:
    """What one set of weights gave.

    Attributes:
        suites: each suite with these weights' subjects alone.
        stop_ids: token ids that ended their answers.
        own: the candidate's answers to the golden prompts; empty where it is not among the subjects.
        golden: the golden prompts; empty until the base model has been asked.
        agreement: of another engine with transformers, where the candidate answered.
    """

    suites: tuple[SuiteReport, ...]
    stop_ids: tuple[int, ...]
    own: tuple[OwnAnswer, ...] = ()
    golden: tuple[GoldenPrompt, ...] = ()
    agreement: EngineAgreement | None = None


def measure(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    adapters: Sequence[AdapterSubject],
    *,
    with_base: bool,
    asked: Asked | None = None,
    own: tuple[OwnAnswer, ...] = (),
) -> Part:
    """Measure the subjects of one set of weights; the model is handed back without adapters.

    Args:
        model: the weights, without adapters.
        tokenizer: theirs.
        task: what is measured.
        adapters: those that are asked over them.
        with_base: whether the model is the base model, and asked too.
        asked: what another engine has answered; without it transformers answers here.
        own: the candidate's answers to the golden prompts, if other weights gave them.

    Raises:
        UserError: a question does not fit, or an adapter is of another base model.
        TunelineError: something broke.
    """
    evaluation, tell = task.evaluation, task.tell
    roles = {adapter.role for adapter in adapters} | ({"base"} if with_base else set())
    subjects = [subject for subject in task.subjects if subject.role in roles]
    limit = task.serving.max_model_len or getattr(model.config, "max_position_embeddings", None)
    stop = stop_ids(model.generation_config, tokenizer)
    was_training = model.training
    agreed = None
    golden: tuple[GoldenPrompt, ...] = ()
    with with_adapters(model, adapters) as loaded:
        reference = TransformersEngine(
            loaded,
            pad_id=int(tokenizer.pad_token_id or 0),
            stop_ids=stop,
            max_new_tokens=evaluation.max_new_tokens,
            batch_size=evaluation.batch_size,
        )
        another = asked is not None
        if asked is None:
            asked = ask(reference, render_all(tokenizer, task.questions, subjects, limit), tell)
        evaluators = Evaluators(
            loaded, tokenizer, reference, evaluation, task.gate, subjects, task.questions, asked, tell
        )
        suites = tuple(run_suite(suite, evaluators) for suite in evaluation.suites)
        if "candidate" in roles:
            name = _golden_suite(evaluation, task.questions)
            own = own_answers(
                loaded,
                reference if another else None,
                [item.id for item in task.questions[name]],
                asked.prompts[name, "candidate"],
                asked.of(name, "candidate"),
                evaluation.golden_prompts,
            )
            if another:
                agreed = _agreement(tokenizer, asked, name, own, evaluation)
        if with_base:
            golden = golden_prompts(loaded, own)
            tell(f"{len(golden)} golden prompts recorded")
    model.train(was_training)
    return Part(suites, stop, own, golden, agreed)


def report_of(parts: Sequence[Part], task: Task, base_name: str) -> EvaluationReport:
    """Put all parts together; judges are asked now.

    Args:
        parts: one for each set of weights, the base model's last.
        task: what was measured.
        base_name: for the report.

    Raises:
        UserError: a judge cannot be reached.
        TunelineError: something broke; there is no partial report.
    """
    evaluation, serving = task.evaluation, task.serving
    suites = tuple(
        whole_suite(suite, [part.suites[place] for part in parts], task.tell)
        for place, suite in enumerate(evaluation.suites)
    )
    return EvaluationReport(
        base_model=base_name,
        engine=evaluation.engine,
        decoding=Decoding(
            max_new_tokens=evaluation.max_new_tokens,
            batch_size=evaluation.batch_size,
            dtype=serving.dtype,
            quantization=serving.quantization,
            stop_ids=parts[0].stop_ids,
        ),
        suites=suites,
        golden=parts[-1].golden,
        agreement=next((part.agreement for part in parts if part.agreement is not None), None),
    )


def _agreement(
    tokenizer: PreTrainedTokenizerBase,
    asked: Asked,
    name: str,
    own: Sequence[OwnAnswer],
    evaluation: EvaluationConfig,
) -> EngineAgreement:
    answers = asked.of(name, "candidate")
    chosen = [answers[place].ids for place in evenly(len(answers), evaluation.golden_prompts)]
    return agreement(
        [str(tokenizer.decode(list(ids), skip_special_tokens=True)) for ids in chosen],
        [str(tokenizer.decode(list(answer.completion_ids), skip_special_tokens=True)) for answer in own],
        evaluation.min_agreement,
    )


def _golden_suite(evaluation: EvaluationConfig, questions: Mapping[str, Sequence[EvaluationItem]]) -> str:
    """The first held-out suite; without one the first that is answered at all."""
    answered = [s for s in evaluation.suites if isinstance(s, (HeldoutSuite, QuestionsSuite, PromptsSuite))]
    heldout = [suite for suite in answered if isinstance(suite, HeldoutSuite)]
    return next(suite.name for suite in [*heldout, *answered] if suite.name in questions)
