"""One evaluation: base model, champion and candidate on every suite of the config.

Adapters share one base model, loaded as it will be served (dtype and quantization of ``serving``, whatever the
adapter was trained over); a whole model answers with its own weights, before or after it. Every subject keeps the
prompt template that it is served with. Whatever goes wrong raises: half an evaluation is no score.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from transformers import AutoConfig, GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from tuneline.errors import UserError
from tuneline.evaluation.ask import Asked, Subject, ask, render_all
from tuneline.evaluation.engines.choose import other_engine
from tuneline.evaluation.engines.transformers_engine import stop_ids
from tuneline.evaluation.golden import OwnAnswer
from tuneline.evaluation.part import Part, Task, measure, report_of
from tuneline.evaluation.report import EvaluationItem, EvaluationReport
from tuneline.evaluation.subjects import AdapterSubject
from tuneline.evaluation.weights import Weights, loaded, weights_of
from tuneline.training.base_model import load_tokenizer

if TYPE_CHECKING:
    from tuneline.config import EvaluationConfig, GateConfig, ModelConfig, ServingConfig

__all__ = ["AdapterSubject", "evaluate", "evaluate_loaded"]


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
    """Load each set of weights as it will be served, one after the other, and evaluate.

    Args:
        model: the base model.
        evaluation: suites, metrics, limits, and who answers.
        gate: what the suites' rules take where they say nothing themselves.
        serving: dtype, quantization and context length that count.
        questions: the items of each suite that has them in its files or in the data.
        candidate: the adapter or whole model to be judged.
        champion: the one in production, None if there is none.
        on_progress: told in words how far it is.

    Raises:
        UserError: a model cannot be loaded, a question does not fit, or an adapter is of another base model.
        TunelineError: something broke; there is no partial report.
    """
    task = _task(evaluation, gate, serving, questions, candidate, champion, on_progress)
    sets = weights_of(model, [subject for subject in (champion, candidate) if subject is not None])
    tokenizers = [load_tokenizer(weights.model) for weights in sets]
    answered: list[Asked | None] = [None] * len(sets)
    if evaluation.engine != "transformers":
        # Before anything is loaded here: on one GPU there is room for one of them.
        _check_engine(evaluation, sets)
        answered = [_asked(weights, tokenizer, task) for weights, tokenizer in zip(sets, tokenizers, strict=True)]
    parts: list[Part] = []
    own: tuple[OwnAnswer, ...] = ()
    for weights, tokenizer, asked in zip(sets, tokenizers, answered, strict=True):
        with loaded(weights, serving) as base:
            part = measure(base, tokenizer, task, weights.adapters, with_base=weights.with_base, asked=asked, own=own)
            del base  # or the next set would be loaded beside it
        own = part.own
        parts.append(part)
    return report_of(parts, task, model.base)


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
    """Evaluate adapters on a base model that is in memory; it is handed back without adapters.

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
    task = _task(evaluation, gate, serving, questions, candidate, champion, on_progress)
    adapters = [subject for subject in (champion, candidate) if subject is not None]
    part = measure(base, tokenizer, task, adapters, with_base=True, asked=asked)
    return report_of([part], task, base_name)


def _task(
    evaluation: EvaluationConfig,
    gate: GateConfig,
    serving: ServingConfig,
    questions: Mapping[str, Sequence[EvaluationItem]],
    candidate: AdapterSubject,
    champion: AdapterSubject | None,
    on_progress: Callable[[str], None] | None,
) -> Task:
    empty = next((name for name, items in questions.items() if not items), None)
    if empty is not None or not questions:
        raise UserError(
            f"The suite {empty or 'heldout'!r} has no questions.",
            hint="Give data.evaluation a holdout or sources with records.",
        )
    adapters = [subject for subject in (champion, candidate) if subject is not None]
    subjects = [
        Subject("base", None, None, candidate.prompt),
        *(Subject(a.role, a.version, a.sha256, a.prompt) for a in adapters),
    ]
    return Task(evaluation, gate, serving, questions, subjects, on_progress or (lambda _: None))


def _check_engine(evaluation: EvaluationConfig, sets: Sequence[Weights]) -> None:
    """A server of one's own has one base model.

    Raises:
        UserError: a whole model would have to be asked there.
    """
    whole = next((adapter for weights in sets for adapter in weights.adapters if adapter.whole is not None), None)
    if evaluation.endpoint is not None and whole is not None:
        raise UserError(
            f"evaluation.engine is endpoint, and the {whole.role} (version {whole.version}) is a whole model: the "
            f"server at {evaluation.endpoint.url} has another one's weights, so it cannot answer for it",
            hint="Set evaluation.engine to vllm or transformers.",
        )


def _asked(weights: Weights, tokenizer: PreTrainedTokenizerBase, task: Task) -> Asked:
    """Have the config's engine answer for everybody who has these weights."""
    subjects = [subject for subject in task.subjects if subject.role in weights.roles]
    prompts = render_all(tokenizer, task.questions, subjects, _length_limit(weights.model, task.serving))
    stop = stop_ids(_generation(weights.model), tokenizer)
    engine = other_engine(weights.model, task.evaluation, task.serving, weights.adapters, stop)
    return ask(engine, prompts, task.tell)


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
