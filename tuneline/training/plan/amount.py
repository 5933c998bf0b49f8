"""How many tokens a run will see, counted in the data where that is on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuneline.data.load import load_sets
from tuneline.errors import TunelineError
from tuneline.training.base_model import load_tokenizer
from tuneline.training.samples import tokenise

if TYPE_CHECKING:
    from tuneline.config import Config

_LOOKED_AT = 500


def tokens_to_train(config: Config) -> tuple[int | None, str]:
    """Tokens of the whole run, and where the number is from; None if the data or its tokenizer is elsewhere.

    Up to 500 records are tokenised, the others are taken to be like them.
    """
    training = config.training
    if training.max_steps is not None:
        return training.max_steps * training.batch_tokens, "max_steps x batch_tokens"
    if any(source.type == "hub" for source in config.data.sources):
        return None, "the data is on the hub"
    try:
        records = load_sets(config.data)[0].records
        tokenizer = load_tokenizer(config.model)
        some = records[:: max(1, len(records) // _LOOKED_AT)]
        samples = tokenise(some, tokenizer, config.prompt, training.max_length).training
    except TunelineError as error:
        return None, error.what
    seen = sum(len(sample.ids) for sample in samples) * len(records) / len(some)
    return round(seen * (training.epochs or 1.0)), f"{training.epochs:g} epochs of {len(records)} records"
