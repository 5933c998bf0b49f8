"""Every suite's questions, rendered for every subject and answered in one pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from tuneline.errors import UserError
from tuneline.evaluation.engines.engine import Answer, Engine, Request
from tuneline.evaluation.report import EvaluationItem, Role
from tuneline.prompts.render import render_prompt
from tuneline.prompts.template import PromptTemplate

Prompt = tuple[int, ...]


@dataclass(frozen=True)
class Subject:
    """Who is asked: the base model alone, or with an adapter.

    Attributes:
        role: base, champion or candidate.
        version: the model version; None for the base model.
        sha256: the adapter's fingerprint; None for the base model.
        prompt: the template that it is served with; the base model gets the candidate's.
    """

    role: Role
    version: str | None
    sha256: str | None
    prompt: PromptTemplate


@dataclass(frozen=True)
class Asked:
    """Prompts and answers of all suites.

    Attributes:
        prompts: token ids per item, by suite and role.
        answers: by role and prompt; the same question in two suites is asked once.
        seconds: the whole pass.
    """

    prompts: Mapping[tuple[str, Role], Sequence[Prompt]]
    answers: Mapping[tuple[Role, Prompt], Answer]
    seconds: float

    def of(self, suite: str, role: Role) -> list[Answer]:
        """A subject's answers to a suite, in the order of its items."""
        return [self.answers[role, prompt] for prompt in self.prompts[suite, role]]

    def seconds_of(self, suite: str, role: Role) -> float:
        """A subject's share of the pass, by its number of answers."""
        return self.seconds * len(self.prompts[suite, role]) / max(len(self.answers), 1)


def render_all(
    tokenizer: PreTrainedTokenizerBase,
    questions: Mapping[str, Sequence[EvaluationItem]],
    subjects: Sequence[Subject],
    limit: int | None,
) -> dict[tuple[str, Role], list[Prompt]]:
    """Render every question for every subject.

    Args:
        tokenizer: the base model's.
        questions: the items of each suite.
        subjects: who is asked.
        limit: longest prompt with answer, tokens; None if it is not known.

    Raises:
        UserError: a question leaves no room for an answer.
    """
    return {
        (name, subject.role): [_rendered(tokenizer, name, item, subject.prompt, limit) for item in items]
        for name, items in questions.items()
        for subject in subjects
    }


def ask(
    engine: Engine,
    prompts: Mapping[tuple[str, Role], Sequence[Prompt]],
    on_progress: Callable[[str], None] | None = None,
) -> Asked:
    """Have an engine answer everything, all subjects together.

    Args:
        engine: who answers.
        prompts: as ``render_all`` gives them.
        on_progress: told in words how far it is.
    """
    unique = list(dict.fromkeys((role, prompt) for (_, role), rendered in prompts.items() for prompt in rendered))
    requests = [Request(role, prompt) for role, prompt in unique]
    told = -1

    def tell(done: int) -> None:
        """Once for each tenth: some engines report every answer."""
        nonlocal told
        if on_progress is not None and (tenth := done * 10 // max(len(requests), 1)) > told:
            told = tenth
            on_progress(f"{done} of {len(requests)} answers")

    started = time.perf_counter()
    answers = engine.answer(requests, tell)
    seconds = time.perf_counter() - started
    return Asked(prompts, dict(zip(unique, answers, strict=True)), seconds)


def _rendered(
    tokenizer: PreTrainedTokenizerBase,
    suite: str,
    item: EvaluationItem,
    template: PromptTemplate,
    limit: int | None,
) -> Prompt:
    ids = render_prompt(tokenizer, item.messages, template, tools=list(item.tools) if item.tools else None)
    if limit is not None and len(ids) >= limit:
        raise UserError(
            f"The item {item.id!r} of suite {suite!r} has {len(ids)} prompt tokens; the model takes {limit} in all.",
            hint="Take it out of the evaluation set, shorten the prompt, or raise serving.max_model_len.",
        )
    return tuple(ids)
