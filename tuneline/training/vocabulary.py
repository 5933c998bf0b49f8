"""Whether tokenizer, prompt template and base model know the same tokens."""

from __future__ import annotations

import re

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tuneline.errors import UserError
from tuneline.prompts.template import PromptTemplate

_MARKER = re.compile(r"<\|[\w.-]+\|>")


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, base: PreTrainedModel) -> None:
    """Refuse a tokenizer with tokens that the model has no embedding for.

    An adapter cannot bring embeddings along, so the engine would fail on such a token, or read past the table's end.

    Raises:
        UserError: the tokenizer is longer than the embedding.
    """
    known, rows = len(tokenizer), base.get_input_embeddings().num_embeddings
    if known > rows:
        raise UserError(
            f"the tokenizer knows {known} tokens, but the base model has embeddings for {rows}: the "
            f"{known - rows} last ones were added later",
            hint="Take the tokenizer that belongs to the base model, or a base model whose embedding was made longer "
            "(`model.resize_token_embeddings`) and saved with that tokenizer.",
        )


def split_markers(tokenizer: PreTrainedTokenizerBase, prompt: PromptTemplate) -> tuple[str, ...]:
    """The markers such as ``<|im_start|>`` of a prompt's own chat template that are no token of this tokenizer.

    Training and serving agree on the pieces such a marker falls into, so it works; the model has to learn it anew, and
    a text that contains it cannot be told from it.
    """
    if prompt.chat_template is None:
        return ()
    vocabulary = tokenizer.get_vocab()
    return tuple(sorted({marker for marker in _MARKER.findall(prompt.chat_template) if marker not in vocabulary}))
