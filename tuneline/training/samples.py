"""From chat records to tokenised samples: those to learn from, and those kept back for validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from tuneline.data.records import ChatRecord
from tuneline.errors import UserError
from tuneline.prompts.render import render_training
from tuneline.prompts.template import PromptTemplate
from tuneline.training.packing import Sample
from tuneline.training.validation import is_kept_back


@dataclass(frozen=True)
class Samples:
    """Tokenised conversations.

    Attributes:
        training: to learn from.
        validation: kept back; empty without ``training.validation``.
        too_long: how many were left out because they are longer than ``training.max_length``.
    """

    training: list[Sample]
    validation: list[Sample]
    too_long: int


def tokenise(
    records: Sequence[ChatRecord],
    tokenizer: PreTrainedTokenizerBase,
    prompt: PromptTemplate,
    max_length: int,
    *,
    validation_share: float = 0.0,
    seed: int = 0,
) -> Samples:
    """Render and tokenise conversations; those longer than ``max_length`` tokens are left out and counted.

    Args:
        records: all that may be learnt from.
        tokenizer: the base model's.
        prompt: what is put around a question.
        max_length: tokens.
        validation_share: of the records, kept back from learning.
        seed: another one keeps back others.

    Raises:
        UserError: nothing is left to learn from, or nothing to validate on.
    """
    samples: list[Sample] = []
    kept_back: list[Sample] = []
    too_long = 0
    for index, record in enumerate(records):
        ids, weights = render_training(tokenizer, record.messages, prompt, tools=record.tools)
        sample = Sample(ids, weights, index)
        if len(ids) > max_length:
            too_long += 1
        elif sample.supervised:
            (kept_back if is_kept_back(record.id, validation_share, seed) else samples).append(sample)
    if validation_share and not (samples and kept_back):
        raise UserError(
            f"training.validation.share is {validation_share:g}, which leaves {len(samples)} records for training and "
            f"{len(kept_back)} for validation",
            hint="Give a share that leaves a few dozen records on either side, or leave training.validation out.",
        )
    if not samples:
        raise UserError(
            f"none of the {len(records)} training records can be learnt from: {too_long} are longer than "
            f"training.max_length ({max_length} tokens), the others have no supervised token",
            hint="Raise training.max_length, or look at the data set's report in the dashboard.",
        )
    return Samples(samples, kept_back, too_long)
