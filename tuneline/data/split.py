"""Training and evaluation data that share no question.

A model that is asked what it was taught proves nothing. So equal prompts always stay on one side, and an
evaluation set that overlaps with training is refused.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from tuneline.data.dataset import ChatDataset
from tuneline.data.records import ChatRecord
from tuneline.errors import UserError


@dataclass(frozen=True)
class Holdout:
    """A data set in two parts. ``duplicates`` is the number of exact copies that were removed first."""

    training: ChatDataset
    evaluation: ChatDataset
    duplicates: int


def prompt_key(record: ChatRecord) -> str:
    """What makes two prompts the same question: roles, words and tools, but neither case nor white space."""
    turns = [(message.role, " ".join(message.content.split()).casefold()) for message in record.prompt]
    return _digest([turns, record.tools])


def remove_duplicates(dataset: ChatDataset) -> tuple[ChatDataset, int]:
    """Keep the first of records that are exactly alike (their ids and sources aside).

    Returns:
        The data set without the copies, and how many were removed.
    """
    kept: dict[str, ChatRecord] = {}
    for record in dataset.records:
        kept.setdefault(_digest(record.model_dump(mode="json", include={"messages", "tools"})), record)
    removed = len(dataset) - len(kept)
    if not removed:
        return dataset, 0
    return ChatDataset(records=list(kept.values()), quarantined=dataset.quarantined), removed


def split_holdout(dataset: ChatDataset, *, seed: int, size: int | None = None, share: float | None = None) -> Holdout:
    """Hold out a part of a data set for evaluation.

    Which prompts are held out depends on the seed and on the prompts' own text alone: adding rows to a file
    moves few of the others to the other side. Both parts keep the order of the data set.

    Args:
        dataset: what to split.
        seed: the same seed holds out the same prompts.
        size: how many records to hold out. Records with equal prompts go together, so it may be a few more.
        share: the share of the records to hold out instead, above 0 and below 1.

    Raises:
        UserError: both or none of size and share are given, or a part would be empty.
    """
    if (size is None) == (share is None):
        raise UserError(f"The holdout needs either a size or a share, but size is {size} and share is {share}.")
    unique, duplicates = remove_duplicates(dataset)
    wanted = size if size is not None else round(len(unique) * (share or 0.0))
    if not 0 < wanted < len(unique):
        raise UserError(
            f"{wanted} of {len(unique)} records cannot be held out for evaluation: each part needs at least one.",
            hint="Bring more data or change the size of the holdout.",
        )
    groups: dict[str, list[ChatRecord]] = {}
    for record in unique.records:
        groups.setdefault(prompt_key(record), []).append(record)
    held_out: set[str] = set()
    for key in sorted(groups, key=lambda key: _digest([seed, key])):
        if len(held_out) >= wanted:
            break
        held_out.update(record.id for record in groups[key])
    training = [record for record in unique.records if record.id not in held_out]
    if not training:
        raise UserError(
            f"Nothing is left to train on: the {len(unique)} records share {len(groups)} prompt(s), "
            "and equal prompts stay together.",
            hint="Bring records with different prompts.",
        )
    evaluation = [record for record in unique.records if record.id in held_out]
    return Holdout(
        training=ChatDataset(records=training, quarantined=unique.quarantined),
        evaluation=ChatDataset(records=evaluation),
        duplicates=duplicates,
    )


def check_leaks(training: ChatDataset, evaluation: ChatDataset, suite: str = "") -> None:
    """Refuse questions that occur in training.

    Args:
        training: what is trained on.
        evaluation: what is asked.
        suite: the name of the suite that asks it, for the message; without it the evaluation set.

    Raises:
        UserError: at least one does; the first three are named.
    """
    trained_on = {prompt_key(record): record.id for record in training.records}
    leaks = [(r, trained_on[key]) for r in evaluation.records if (key := prompt_key(r)) in trained_on]
    if not leaks:
        return
    examples = "; ".join(
        f"{record.id} = {trained} ({record.prompt[-1].content[:80]!r})" for record, trained in leaks[:3]
    )
    asked = f"prompts of the suite {suite!r}" if suite else "evaluation prompts"
    raise UserError(
        f"{len(leaks)} of {len(evaluation)} {asked} also occur in the training data, "
        f"so their scores would prove nothing: {examples}",
        hint="Take them out of the training data or out of the suite."
        if suite
        else "Take them out of one of the two, or let the evaluation set be held out of the training data.",
    )


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
