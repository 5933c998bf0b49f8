"""One evaluation: base model, champion and candidate answer the same questions in one process.

The adapters share one base model, loaded as it will be served (dtype and quantization of ``serving``),
and every subject keeps the prompt template that it is served with. Whatever goes wrong raises: half
an evaluation is no score.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tuneline.data.records import ChatRecord
from tuneline.errors import TunelineError, UserError
from tuneline.evaluation.engines.engine import Answer, Request
from tuneline.evaluation.engines.transformers_engine import TransformersEngine, stop_ids
from tuneline.evaluation.golden import token_logprobs
from tuneline.evaluation.metrics import score
from tuneline.evaluation.report import Decoding, EvaluationItem, EvaluationReport, ItemResult, Role, SubjectResult
from tuneline.evaluation.subjects import AdapterSubject, switched_to, with_adapters
from tuneline.prompts.render import render_prompt
from tuneline.prompts.template import PromptTemplate
from tuneline.release.parity import GoldenPrompt
from tuneline.training.base_model import Quantization, load_base, load_tokenizer

if TYPE_CHECKING:
    from tuneline.config import EvaluationConfig, ModelConfig, ServingConfig

__all__ = ["AdapterSubject", "evaluate", "evaluate_loaded"]

# vLLM's names of a quantization made while loading, and the same for transformers. Others come with the weights.
_QUANTIZATIONS: dict[str | None, Quantization] = {"bitsandbytes": "nf4"}


def evaluate(
    model: ModelConfig,
    evaluation: EvaluationConfig,
    serving: ServingConfig,
    records: Sequence[ChatRecord],
    *,
    candidate: AdapterSubject,
    champion: AdapterSubject | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> EvaluationReport:
    """Load the base model as it will be served and evaluate.

    Args:
        model: the base model.
        evaluation: metrics, limits and batch size.
        serving: dtype, quantization and context length that count.
        records: the questions with their right answers.
        candidate: the adapter to be judged.
        champion: the adapter in production, None if there is none.
        on_progress: told in words how far it is.

    Raises:
        UserError: the base model cannot be loaded, a question does not fit, or an adapter is of another base model.
        TunelineError: something broke; there is no partial report.
    """
    base = load_base(model, quantization=_QUANTIZATIONS.get(serving.quantization, "none"), dtype=serving.dtype)
    return evaluate_loaded(
        base,
        load_tokenizer(model),
        records,
        candidate=candidate,
        champion=champion,
        metrics=evaluation.metrics,
        primary=evaluation.primary,
        decoding=Decoding(
            max_new_tokens=evaluation.max_new_tokens,
            batch_size=evaluation.batch_size,
            dtype=serving.dtype,
            quantization=serving.quantization,
        ),
        golden_prompts=evaluation.golden_prompts,
        base_name=model.base,
        max_model_len=serving.max_model_len,
        on_progress=on_progress,
    )


def evaluate_loaded(
    base: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    records: Sequence[ChatRecord],
    *,
    candidate: AdapterSubject,
    champion: AdapterSubject | None,
    metrics: Sequence[str],
    primary: str,
    decoding: Decoding,
    golden_prompts: int,
    base_name: str,
    max_model_len: int | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> EvaluationReport:
    """Evaluate on a base model that is in memory; it is handed back without adapters.

    Args:
        base: the base model, without adapters.
        tokenizer: its tokenizer.
        records: the questions with their right answers.
        candidate: the adapter to be judged.
        champion: the adapter in production, None if there is none.
        metrics: what to score.
        primary: the metric that leads.
        decoding: its ``stop_ids`` are filled in here.
        golden_prompts: how many answers of the candidate to keep log-probabilities of.
        base_name: for the report.
        max_model_len: longest prompt with answer, tokens; the model's own limit unless given.
        on_progress: told in words how far it is.

    Raises:
        UserError: there are no questions, one does not fit, or an adapter is of another base model.
        TunelineError: something broke; there is no partial report.
    """
    if not records:
        raise UserError("The evaluation set is empty.", hint="Give data.evaluation a holdout or sources with records.")
    adapters = [subject for subject in (champion, candidate) if subject is not None]
    limit = max_model_len or getattr(base.config, "max_position_embeddings", None)
    decoding = decoding.model_copy(update={"stop_ids": stop_ids(base, tokenizer)})
    tell = on_progress or (lambda _: None)
    subjects: list[SubjectResult] = []
    answers: list[Answer] = []
    prompts: list[list[int]] = []
    was_training = base.training
    with with_adapters(base, adapters) as model:
        for adapter in (None, *adapters):
            role: Role = adapter.role if adapter else "base"
            template = adapter.prompt if adapter else candidate.prompt
            prompts = _prompts(tokenizer, records, template, limit)
            started = time.perf_counter()
            engine = TransformersEngine(
                model,
                pad_id=int(tokenizer.pad_token_id or 0),
                stop_ids=decoding.stop_ids,
                max_new_tokens=decoding.max_new_tokens,
                batch_size=decoding.batch_size,
            )
            answers = engine.answer(
                [Request(role, tuple(prompt)) for prompt in prompts], partial(_tell, tell, role, len(records))
            )
            seconds = time.perf_counter() - started
            subjects.append(
                SubjectResult(
                    role=role,
                    version=adapter.version if adapter else None,
                    adapter_sha256=adapter.sha256 if adapter else None,
                    prompt=template,
                    results=_results(tokenizer, records, prompts, answers, template, metrics),
                    seconds=seconds,
                )
            )
        # The candidate came last: prompts and answers are its own.
        golden = _golden(model, records, prompts, answers, golden_prompts)
        tell(f"{len(golden)} golden prompts recorded")
    base.train(was_training)
    return EvaluationReport(
        base_model=base_name,
        primary=primary,
        metrics=tuple(metrics),
        decoding=decoding,
        items=tuple(
            EvaluationItem(id=r.id, source=r.source, messages=tuple(r.prompt), reference=r.reference) for r in records
        ),
        subjects=tuple(subjects),
        golden=golden,
    )


def _tell(tell: Callable[[str], None], role: Role, items: int, done: int) -> None:
    tell(f"{role}: {done} of {items} answers")


def _prompts(
    tokenizer: PreTrainedTokenizerBase, records: Sequence[ChatRecord], template: PromptTemplate, limit: int | None
) -> list[list[int]]:
    prompts = []
    for record in records:
        ids = render_prompt(tokenizer, record.prompt, template, tools=record.tools)
        if limit is not None and len(ids) >= limit:
            raise UserError(
                f"The evaluation item {record.id!r} has {len(ids)} prompt tokens, and the model takes {limit} in all.",
                hint="Take it out of the evaluation set, shorten the prompt, or raise serving.max_model_len.",
            )
        prompts.append(ids)
    return prompts


def _results(
    tokenizer: PreTrainedTokenizerBase,
    records: Sequence[ChatRecord],
    prompts: Sequence[Sequence[int]],
    answers: Sequence[Answer],
    template: PromptTemplate,
    metrics: Sequence[str],
) -> tuple[ItemResult, ...]:
    texts, finished = [], []
    for answer in answers:
        text = str(tokenizer.decode(list(answer.ids), skip_special_tokens=True))
        ends = [place for stop in template.stop if (place := text.find(stop)) >= 0]
        texts.append(text[: min(ends)] if ends else text)
        finished.append(answer.finished or bool(ends))
    references = [record.reference for record in records]
    scores = {metric: score(metric, texts, references) for metric in metrics}
    return tuple(
        ItemResult(
            id=record.id,
            completion=texts[place],
            scores={metric: values[place] for metric, values in scores.items()},
            prompt_tokens=len(prompts[place]),
            completion_tokens=len(answers[place].ids),
            finished=finished[place],
        )
        for place, record in enumerate(records)
    )


def _golden(
    model: PeftModel,
    records: Sequence[ChatRecord],
    prompts: Sequence[Sequence[int]],
    answers: Sequence[Answer],
    wanted: int,
) -> tuple[GoldenPrompt, ...]:
    """Log-probabilities of the candidate's own answers, from items spread evenly over the set."""
    count = min(wanted, len(records))
    golden = []
    for place in (index * len(records) // count for index in range(count)):
        prompt, completion = prompts[place], answers[place].ids
        with switched_to(model, "candidate"):
            own = token_logprobs(model, prompt, completion)
        with switched_to(model, "base"):
            base = token_logprobs(model, prompt, completion)
        golden.append(
            GoldenPrompt(
                id=records[place].id,
                prompt_ids=tuple(prompt),
                completion_ids=completion,
                logprobs=tuple(own),
                base_logprobs=tuple(base),
            )
        )
    if not golden:
        raise TunelineError("No golden prompt could be recorded, so the served model could not be checked.")
    return tuple(golden)
