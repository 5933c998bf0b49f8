"""One evaluation: base model, champion and candidate on every suite of the config.

The adapters share one base model, loaded as it will be served (dtype and quantization of ``serving``,
whatever the adapter was trained over), and every subject keeps the prompt template that it is served
with. Whatever goes wrong raises: half an evaluation is no score.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from transformers import AutoConfig, GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from tuneline.config.suites import HeldoutSuite, PromptsSuite, QuestionsSuite
from tuneline.errors import UserError
from tuneline.evaluation.ask import Asked, Subject, ask, render_all
from tuneline.evaluation.engines.agreement import agreement
from tuneline.evaluation.engines.choose import other_engine
from tuneline.evaluation.engines.transformers_engine import TransformersEngine, stop_ids
from tuneline.evaluation.golden import golden_prompts
from tuneline.evaluation.report import Decoding, EvaluationItem, EvaluationReport
from tuneline.evaluation.run_suites import Evaluators, run_suite
from tuneline.evaluation.sample import evenly
from tuneline.evaluation.subjects import AdapterSubject, with_adapters
from tuneline.training.base_model import Quantization, load_base, load_tokenizer

if TYPE_CHECKING:
    from tuneline.config import EvaluationConfig, GateConfig, ModelConfig, ServingConfig

__all__ = ["AdapterSubject", "evaluate", "evaluate_loaded"]

# vLLM's names of a quantization made while loading, and the same for transformers. Others come with the weights.
_QUANTIZATIONS: dict[str | None, Quantization] = {"bitsandbytes": "nf4"}


def evaluate(
    model: ModelConfig,
    evaluation: EvaluationConfig,
    gate: GateConfig,
    serving: ServingConfig,
    questions: Mapping[str, Sequence[EvaluationItem]],
    *,
    candidate: AdapterSubject,
    champion: AdapterSubject | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> EvaluationReport:
    """Load the base model as it will be served and evaluate.

    Args:
        model: the base model.
        evaluation: suites, metrics, limits, and who answers.
        gate: what the suites' rules take where they say nothing themselves.
        serving: dtype, quantization and context length that count.
        questions: the items of each suite that has them in its files or in the data.
        candidate: the adapter to be judged.
        champion: the adapter in production, None if there is none.
        on_progress: told in words how far it is.

    Raises:
        UserError: the base model cannot be loaded, a question does not fit, or an adapter is of another base model.
        TunelineError: something broke; there is no partial report.
    """
    tokenizer = load_tokenizer(model)
    asked = None
    if evaluation.engine != "transformers":
        # Before the base model is loaded here: on one GPU there is room for one of them.
        subjects = _subjects(candidate, champion)
        prompts = render_all(tokenizer, questions, subjects, _length_limit(model, serving))
        adapters = [subject for subject in (champion, candidate) if subject is not None]
        stop = stop_ids(_generation(model), tokenizer)
        engine = other_engine(model, evaluation, serving, adapters, stop)
        asked = ask(engine, prompts, on_progress)
    base = load_base(model, quantization=_QUANTIZATIONS.get(serving.quantization, "none"), dtype=serving.dtype)
    return evaluate_loaded(
        base,
        tokenizer,
        evaluation,
        gate,
        serving,
        questions,
        candidate=candidate,
        champion=champion,
        base_name=model.base,
        asked=asked,
        on_progress=on_progress,
    )


def evaluate_loaded(
    base: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    evaluation: EvaluationConfig,
    gate: GateConfig,
    serving: ServingConfig,
    questions: Mapping[str, Sequence[EvaluationItem]],
    *,
    candidate: AdapterSubject,
    champion: AdapterSubject | None,
    base_name: str,
    asked: Asked | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> EvaluationReport:
    """Evaluate on a base model that is in memory; it is handed back without adapters.

    Args:
        base: the base model, without adapters.
        tokenizer: its tokenizer.
        evaluation, gate, serving, questions: as for ``evaluate``.
        candidate: the adapter to be judged.
        champion: the adapter in production, None if there is none.
        base_name: for the report.
        asked: what another engine has answered; without it transformers answers here.
        on_progress: told in words how far it is.

    Raises:
        UserError: there are no questions, one does not fit, or an adapter is of another base model.
        TunelineError: something broke; there is no partial report.
    """
    empty = next((name for name, items in questions.items() if not items), None)
    if empty is not None or not questions:
        raise UserError(
            f"The suite {empty or 'heldout'!r} has no questions.",
            hint="Give data.evaluation a holdout or sources with records.",
        )
    tell = on_progress or (lambda _: None)
    subjects = _subjects(candidate, champion)
    adapters = [subject for subject in (champion, candidate) if subject is not None]
    limit = serving.max_model_len or getattr(base.config, "max_position_embeddings", None)
    stop = stop_ids(base.generation_config, tokenizer)
    was_training = base.training
    with with_adapters(base, adapters) as loaded:
        reference = TransformersEngine(
            loaded,
            pad_id=int(tokenizer.pad_token_id or 0),
            stop_ids=stop,
            max_new_tokens=evaluation.max_new_tokens,
            batch_size=evaluation.batch_size,
        )
        another = asked is not None
        if asked is None:
            asked = ask(reference, render_all(tokenizer, questions, subjects, limit), tell)
        evaluators = Evaluators(loaded, tokenizer, reference, evaluation, gate, subjects, questions, asked, tell)
        suites = tuple(run_suite(suite, evaluators) for suite in evaluation.suites)
        name = _golden_suite(evaluation, questions)
        golden = golden_prompts(
            loaded,
            reference if another else None,
            [item.id for item in questions[name]],
            asked.prompts[name, "candidate"],
            asked.of(name, "candidate"),
            evaluation.golden_prompts,
        )
        agreed = None
        if another:
            answers = asked.of(name, "candidate")
            chosen = [answers[place].ids for place in evenly(len(answers), evaluation.golden_prompts)]
            agreed = agreement(
                [str(tokenizer.decode(list(ids), skip_special_tokens=True)) for ids in chosen],
                [str(tokenizer.decode(list(own.completion_ids), skip_special_tokens=True)) for own in golden],
                evaluation.min_agreement,
            )
        tell(f"{len(golden)} golden prompts recorded")
    base.train(was_training)
    return EvaluationReport(
        base_model=base_name,
        engine=evaluation.engine,
        decoding=Decoding(
            max_new_tokens=evaluation.max_new_tokens,
            batch_size=evaluation.batch_size,
            dtype=serving.dtype,
            quantization=serving.quantization,
            stop_ids=stop,
        ),
        suites=suites,
        golden=golden,
        agreement=agreed,
    )


def _subjects(candidate: AdapterSubject, champion: AdapterSubject | None) -> list[Subject]:
    adapters = [subject for subject in (champion, candidate) if subject is not None]
    return [
        Subject("base", None, None, candidate.prompt),
        *(Subject(a.role, a.version, a.sha256, a.prompt) for a in adapters),
    ]


def _length_limit(model: ModelConfig, serving: ServingConfig) -> int | None:
    if serving.max_model_len is not None:
        return serving.max_model_len
    config = AutoConfig.from_pretrained(model.base, revision=model.revision, trust_remote_code=model.trust_remote_code)
    limit: int | None = getattr(config, "max_position_embeddings", None)
    return limit


def _generation(model: ModelConfig) -> GenerationConfig:
    """The model's generation config, which names its stop tokens, without its weights."""
    where = {"revision": model.revision, "trust_remote_code": model.trust_remote_code}
    try:
        return GenerationConfig.from_pretrained(model.base, **where)
    except OSError:  # the model brings none: transformers derives one from its config
        return GenerationConfig.from_model_config(AutoConfig.from_pretrained(model.base, **where))


def _golden_suite(evaluation: EvaluationConfig, questions: Mapping[str, Sequence[EvaluationItem]]) -> str:
    """The first held-out suite; without one the first that is answered at all."""
    answered = [s for s in evaluation.suites if isinstance(s, (HeldoutSuite, QuestionsSuite, PromptsSuite))]
    heldout = [suite for suite in answered if isinstance(suite, HeldoutSuite)]
    return next(suite.name for suite in [*heldout, *answered] if suite.name in questions)
