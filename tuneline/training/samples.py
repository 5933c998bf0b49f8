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
    records: Sequence[ChatRecord], tokenizer: PreTrainedTokenizerBase, prompt: PromptTemplate, max_length: int
) -> Samples:
    """Render and tokenise conversations; those longer than ``max_length`` tokens are left out and counted.

    Raises:
        UserError: nothing is left to learn from.
    """
    samples, too_long = [], 0
    for index, record in enumerate(records):
        ids, weights = render_training(tokenizer, record.messages, prompt, tools=record.tools)
        sample = Sample(ids, weights, index)
        if len(ids) > max_length:
            too_long += 1
        elif sample.supervised:
            samples.append(sample)
    if not samples:
        raise UserError(
            f"none of the {len(records)} training records can be learnt from: {too_long} are longer than "
            f"training.max_length ({max_length} tokens), the others have no supervised token",
            hint="Raise training.max_length, or look at the data set's report in the dashboard.",
        )
    return Samples(samples, [], too_long)
