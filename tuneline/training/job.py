"""One training to be done: what it learns from, how, and where its results and its checkpoints go."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneline.data.records import ChatRecord
from tuneline.prompts.template import PromptTemplate
from tuneline.training.progress import Progress

if TYPE_CHECKING:
    from tuneline.config import ModelConfig, TrainingConfig


def _say(line: str) -> None:
    print(f"training: {line}", flush=True)


def _ignore(moment: Progress) -> None:
    del moment


@dataclass(frozen=True)
class TrainingJob:
    """What ``tuneline.training.train.train`` takes.

    Attributes:
        records: conversations to learn from.
        model: the base model.
        training: how.
        prompt: what is put around a question.
        output: an empty or missing folder that gets the adapter's files, and nothing if the run fails.
        checkpoints: a folder (path or fsspec URI) that outlives this process and belongs to this job alone; None saves
            nothing, and an interrupted run begins again.
        storage_options: fsspec's, for ``checkpoints``.
        on_progress: told each logged moment; never in any process but the first.
        say: told in a line what a person should know (packing refused, resumed at step 30, micro-batch halved).
    """

    records: Sequence[ChatRecord]
    model: ModelConfig
    training: TrainingConfig
    prompt: PromptTemplate
    output: Path
    checkpoints: str | None = None
    storage_options: Mapping[str, Any] = field(default_factory=dict)
    on_progress: Callable[[Progress], None] = _ignore
    say: Callable[[str], None] = _say
