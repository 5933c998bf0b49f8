"""Answers to scores, suite by suite."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from transformers import PreTrainedTokenizerBase

from tuneline.config.metrics import metric_name
from tuneline.data.records import Message
from tuneline.evaluation.ask import Prompt, Subject
from tuneline.evaluation.engines.engine import Answer
from tuneline.evaluation.metrics import score
from tuneline.evaluation.report import EvaluationItem, ItemResult
from tuneline.evaluation.suites.checks import check_score
from tuneline.prompts.render import render_training
from tuneline.prompts.template import PromptTemplate

# Prompts and the token ids of their right answers in, nats per token out.
Likelihood = Callable[[Sequence[Sequence[int]], Sequence[Sequence[int]]], list[float]]


def to_result(
    tokenizer: PreTrainedTokenizerBase,
    subject: Subject,
    item: EvaluationItem,
    prompt: Prompt,
    answer: Answer,
    scores: dict[str, float] | None = None,
) -> ItemResult:
    """An answer as the endpoint would return it: decoded, and ended where its subject's stop strings end it."""
    text = str(tokenizer.decode(list(answer.ids), skip_special_tokens=True))
    ends = [place for stop in subject.prompt.stop if (place := text.find(stop)) >= 0]
    return ItemResult(
        id=item.id,
        completion=text[: min(ends)] if ends else text,
        scores=scores or {},
        prompt_tokens=len(prompt),
        completion_tokens=len(answer.ids),
        finished=answer.finished or bool(ends),
        error=answer.error,
    )


def scored(
    tokenizer: PreTrainedTokenizerBase,
    subject: Subject,
    items: Sequence[EvaluationItem],
    prompts: Sequence[Prompt],
    answers: Sequence[Answer],
    metrics: Sequence[str],
    likelihood: Likelihood,
) -> tuple[ItemResult, ...]:
    """Score one subject's answers to one suite.

    Args:
        tokenizer: the base model's.
        subject: who answered.
        items: the questions.
        prompts: as they were rendered for this subject.
        answers: one per item. One with an error gets no scores, which the gate refuses.
        metrics: what to measure.
        likelihood: for ``perplexity``, of this subject.

    Raises:
        TunelineError: a metric gave something that is no score.
    """
    results = [
        to_result(tokenizer, subject, item, prompt, answer)
        for item, prompt, answer in zip(items, prompts, answers, strict=True)
    ]
    scores = {
        metric_name(metric): _measured(metric, tokenizer, subject, items, prompts, results, likelihood)
        for metric in metrics
    }
    return tuple(
        result
        if result.error
        else result.model_copy(update={"scores": {metric: values[place] for metric, values in scores.items()}})
        for place, result in enumerate(results)
    )


def _measured(
    metric: str,
    tokenizer: PreTrainedTokenizerBase,
    subject: Subject,
    items: Sequence[EvaluationItem],
    prompts: Sequence[Prompt],
    results: Sequence[ItemResult],
    likelihood: Likelihood,
) -> list[float]:
    if metric == "length":
        return [float(result.completion_tokens) for result in results]
    if metric == "check":
        return [check_score(item.checks, result.completion) for item, result in zip(items, results, strict=True)]
    if metric == "perplexity":
        references = [
            _reference_ids(tokenizer, item, prompt, subject.prompt) for item, prompt in zip(items, prompts, strict=True)
        ]
        return likelihood(prompts, references)
    return score(metric, [result.completion for result in results], [item.reference for item in items])


def _reference_ids(
    tokenizer: PreTrainedTokenizerBase, item: EvaluationItem, prompt: Prompt, template: PromptTemplate
) -> list[int]:
    """The right answer's tokens as training would have shown them, the one that ends the turn included."""
    whole = [*item.messages, Message(role="assistant", content=item.reference)]
    ids, weights = render_training(tokenizer, whole, template, tools=list(item.tools) if item.tools else None)
    last = max(place for place, weight in enumerate(weights) if weight > 0)
    return ids[len(prompt) : last + 1]
