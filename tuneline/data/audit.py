"""What is in a data set, in numbers, before anyone trains on it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from tuneline.data.dataset import ChatDataset
from tuneline.data.split import prompt_key, remove_duplicates

# {{name}} in a question or an answer is most often a blank that nobody filled in.
_PLACEHOLDER = re.compile(r"\{\{\s*\w+\s*\}\}")


class _Numbers(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Lengths(_Numbers):
    """How long texts are; the unit is said where this is used."""

    minimum: int
    median: float
    p90: float
    p99: float
    maximum: int
    total: int


class DataAudit(_Numbers):
    """The audit of one data set.

    Attributes:
        records: conversations that can be trained on.
        turns: turns in all of them.
        quarantined: rows left out, and ``reasons``: how often each reason was given.
        sources: records per source.
        duplicates: records that are exact copies of an earlier one.
        repeated_prompts: records whose prompt occurred earlier with another answer.
        empty_answers: records whose last turn is blank.
        placeholders: records with an unfilled ``{{blank}}``.
        prompt_characters: lengths of all that stands before the answer.
        answer_characters: lengths of the answer.
        prompt_tokens: the same in tokens, if a tokenizer was given.
        answer_tokens: the same in tokens, if a tokenizer was given.
    """

    fingerprint: str
    records: int
    turns: int
    quarantined: int
    reasons: dict[str, int]
    sources: dict[str, int]
    duplicates: int
    repeated_prompts: int
    empty_answers: int
    placeholders: int
    prompt_characters: Lengths
    answer_characters: Lengths
    prompt_tokens: Lengths | None = None
    answer_tokens: Lengths | None = None


def audit(dataset: ChatDataset, count_tokens: Callable[[str], int] | None = None) -> DataAudit:
    """Count what a data set holds.

    Args:
        dataset: what to look at.
        count_tokens: gives a text's length in tokens.
    """
    records = dataset.records
    unique, duplicates = remove_duplicates(dataset)
    prompts = ["\n".join(message.content for message in record.prompt) for record in records]
    answers = [record.reference for record in records]
    return DataAudit(
        fingerprint=dataset.fingerprint(),
        records=len(records),
        turns=sum(len(record.messages) for record in records),
        quarantined=len(dataset.quarantined),
        reasons=dict(Counter(row.reason for row in dataset.quarantined).most_common()),
        sources=dict(Counter(record.source for record in records).most_common()),
        duplicates=duplicates,
        repeated_prompts=len(unique) - len({prompt_key(record) for record in unique.records}),
        empty_answers=sum(not answer.strip() for answer in answers),
        placeholders=sum(any(_PLACEHOLDER.search(m.content) for m in record.messages) for record in records),
        prompt_characters=_lengths([len(text) for text in prompts]),
        answer_characters=_lengths([len(text) for text in answers]),
        prompt_tokens=_lengths([count_tokens(text) for text in prompts]) if count_tokens else None,
        answer_tokens=_lengths([count_tokens(text) for text in answers]) if count_tokens else None,
    )


def _lengths(values: Sequence[int]) -> Lengths:
    if not values:
        return Lengths(minimum=0, median=0.0, p90=0.0, p99=0.0, maximum=0, total=0)
    median, p90, p99 = (float(value) for value in np.percentile(values, [50, 90, 99]))
    return Lengths(minimum=min(values), median=median, p90=p90, p99=p99, maximum=max(values), total=sum(values))
