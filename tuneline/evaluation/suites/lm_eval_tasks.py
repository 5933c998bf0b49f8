"""Tasks of EleutherAI's lm-evaluation-harness, asked of a model that is in memory.

Prompts are the task's own, without our template: that is how published numbers are made, and these are for
seeing that a model has not forgotten what it knew. Few-shot examples are drawn with a fixed seed, so every
subject gets the same prompts. lm-eval takes 14 seconds to import, so it is imported where it is used.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from tuneline.config.suites import LmEvalSuite
from tuneline.data.dataset import ChatDataset
from tuneline.data.records import Message
from tuneline.data.split import check_leaks
from tuneline.errors import TunelineError, UserError
from tuneline.evaluation.report import EvaluationItem
from tuneline.evaluation.suites.prompts import as_record

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# What the scores are called where the tasks of a suite are decided by different metrics.
MIXED = "score"


@dataclass(frozen=True)
class LmEvalAnswers:
    """What one subject said, in the same order for every subject.

    Attributes:
        items: the questions as the model saw them; ids are ``task/number``, sources the task's name.
        primary: the metric that decides, lm-eval's name for it; ``score`` where the tasks' differ.
        scores: by metric, per item: ``primary``, and the others that every item has.
        completions: what the model wrote, or which choice it found most likely.
    """

    items: tuple[EvaluationItem, ...]
    primary: str
    scores: dict[str, tuple[float, ...]]
    completions: tuple[str, ...]


def check_lm_eval(suite: LmEvalSuite, training_set: ChatDataset) -> None:
    """See before training that the tasks exist, that their data can be loaded, and that none of it is trained on.

    Raises:
        UserError: a task is unknown, its data cannot be loaded, or one of its questions occurs in training.
    """
    asked = [
        EvaluationItem(
            id=f"{name}/{number}", source=name, messages=(Message(role="user", content=str(task.doc_to_text(doc))),)
        )
        for name, task in load_tasks(suite).items()
        for number, doc in task.doc_iterator(limit=suite.limit)
    ]
    check_leaks(training_set, ChatDataset(records=[as_record(item) for item in asked]), suite.name)


def load_tasks(suite: LmEvalSuite) -> dict[str, Any]:
    """Load a suite's tasks with their data; groups and tags become the tasks in them.

    Raises:
        UserError: a task is unknown, or its data cannot be loaded.
    """
    manager = _manager(suite)
    for name in suite.tasks:
        if name not in manager.all_tasks:
            near = difflib.get_close_matches(name, manager.all_tasks, 3)
            raise UserError(
                f"The suite {suite.name!r} names the task {name!r}, which lm-eval does not have.",
                hint=f"Did you mean {' or '.join(near)}?"
                if near
                else "`lm-eval ls tasks` lists all that there are; include_path brings tasks of your own.",
            )
    try:
        tasks: dict[str, Any] = manager.load(list(suite.tasks))["tasks"]
    except Exception as error:  # datasets' errors, the hub's, the file system's, those of the task's own code
        raise UserError(
            f"The tasks of the suite {suite.name!r} ({', '.join(suite.tasks)}) cannot be loaded: {_said(error)}",
            hint="Their data come from the hub: check that this machine reaches it (HF_HUB_OFFLINE, HF_ENDPOINT, "
            "HF_TOKEN), download them beforehand, or bring tasks with local files by include_path.",
        ) from error
    return tasks


def _manager(suite: LmEvalSuite) -> Any:
    """What knows the tasks: those of the suite's own folder if they are enough, for lm-eval's take half a minute."""
    from lm_eval.tasks import TaskManager

    if suite.include_path is not None:
        own = TaskManager(include_path=suite.include_path, include_defaults=False)
        if set(suite.tasks) <= set(own.all_subtasks):  # groups may name tasks of lm-eval's
            return own
    return _whole_manager(suite.include_path)


@cache
def _whole_manager(include_path: str | None) -> Any:
    """lm-eval's tasks with one's own: it reads more than ten thousand files, once for all subjects."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=include_path)


def run_lm_eval(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, suite: LmEvalSuite, batch_size: int
) -> LmEvalAnswers:
    """Ask a model the tasks of a suite.

    Args:
        model: in memory, with the adapter switched on that is asked.
        tokenizer: its tokenizer.
        suite: the tasks.
        batch_size: requests at once.

    Raises:
        UserError: a task is unknown, its data cannot be loaded, or the metric gives no number per item.
        TunelineError: lm-eval broke.
    """
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    tasks = load_tasks(suite)
    try:
        found = simple_evaluate(
            model=HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size),
            tasks=list(tasks.values()),
            num_fewshot=suite.num_fewshot,
            limit=suite.limit,
            bootstrap_iters=0,
            log_samples=True,
            task_manager=_manager(suite),  # or it would make one with all tasks, for nothing
        )
    except Exception as error:  # a task's own code may raise anything
        raise TunelineError(
            f"lm-eval broke on the suite {suite.name!r} ({', '.join(suite.tasks)}): {_said(error)}",
            hint="Tasks that run the model's code, or need pictures, are not taken; others may not fit the model's "
            "context (max_gen_toks, num_fewshot).",
        ) from error
    answers = [
        _task_answers(suite, name, found["samples"][name], found["higher_is_better"].get(name) or {}) for name in tasks
    ]
    primaries = {answer.primary for answer in answers}
    primary = primaries.pop() if len(primaries) == 1 else MIXED
    everywhere = set.intersection(*(set(answer.scores) for answer in answers)) - {primary}
    return LmEvalAnswers(
        items=tuple(item for answer in answers for item in answer.items),
        primary=primary,
        scores={primary: tuple(value for answer in answers for value in answer.scores[answer.primary])}
        | {name: tuple(value for answer in answers for value in answer.scores[name]) for name in sorted(everywhere)},
        completions=tuple(text for answer in answers for text in answer.completions),
    )


def _task_answers(
    suite: LmEvalSuite, task: str, samples: Sequence[dict[str, Any]], higher_is_better: dict[str, bool]
) -> LmEvalAnswers:
    """One task's samples; lm-eval has each of them once per filter, and the first filter is the task's usual one."""
    name, _, wanted = (suite.metric or "").partition(",")
    filters = list(dict.fromkeys(sample["filter"] for sample in samples))
    if wanted and wanted not in filters:
        raise UserError(
            f"The suite {suite.name!r} decides by {suite.metric!r}, but the task {task} has no filter {wanted!r}.",
            hint=f"It has {', '.join(filters)}.",
        )
    samples = sorted(
        (sample for sample in samples if sample["filter"] == (wanted or filters[0])), key=lambda s: int(s["doc_id"])
    )
    scores = {
        metric: values
        for metric in samples[0]["metrics"]
        if higher_is_better.get(metric, True) and (values := _numbers(sample.get(metric) for sample in samples))
    }
    primary = name or samples[0]["metrics"][0]
    if primary not in scores:
        there = "has no such metric" if primary not in samples[0]["metrics"] else "has no score from 0 to 1 per item"
        usable = ", ".join(scores)
        raise UserError(
            f"The suite {suite.name!r} is decided by {primary!r}, of which the task {task} {there}: "
            "nothing could be compared item by item.",
            hint=f"Set its metric to one of: {usable}."
            if usable
            else "Take another task: this one has no such metric.",
        )
    return LmEvalAnswers(
        items=tuple(
            EvaluationItem(
                id=f"{task}/{sample['doc_id']}",
                source=task,
                messages=(Message(role="user", content=str(sample["arguments"][0][0])),),
                reference=_target(sample),
            )
            for sample in samples
        ),
        primary=primary,
        scores=scores,
        completions=tuple(_completion(sample) for sample in samples),
    )


def _numbers(values: Any) -> tuple[float, ...]:
    """Scores from 0 to 1, or nothing if one of the values is none (lm-eval has pairs and likelihoods there too)."""
    numbers: list[float] = []
    for value in values:
        try:
            number = float(value)  # also of a bool, and of NumPy's and torch's numbers
        except (TypeError, ValueError):
            return ()
        if not (math.isfinite(number) and 0 <= number <= 1):
            return ()
        numbers.append(number)
    return tuple(numbers)


def _choices(sample: dict[str, Any]) -> list[str]:
    """What a model chooses between; of a task whose model writes there is none."""
    return [str(arguments[1]).strip() for arguments in sample["arguments"] if isinstance(arguments[1], str)]


def _target(sample: dict[str, Any]) -> str:
    target, choices = sample["target"], _choices(sample)
    if isinstance(target, int) and not isinstance(target, bool) and 0 <= target < len(choices):
        return choices[target]
    return " | ".join(map(str, target)) if isinstance(target, list | tuple) else str(target).strip()


def _completion(sample: dict[str, Any]) -> str:
    first = sample["resps"][0][0]
    if isinstance(first, str):
        return first
    choices = _choices(sample)
    likelihoods = [float(response[0][0]) for response in sample["resps"][: len(choices)]]
    return choices[likelihoods.index(max(likelihoods))] if likelihoods else ""


def _said(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
