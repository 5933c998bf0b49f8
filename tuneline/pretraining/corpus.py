"""What the tiny base model reads: shell documentation, shell history, and rows that reward copying.

The chat format never occurs here, nor does any question of the fine-tuning sets. What the base
model learns is the commands' language, how documentation words them, and above all to copy a name
it has never seen, without which no fine-tuning of three million parameters can answer anything.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from tuneline.data.synthetic.families import Family, fill, load_families
from tuneline.data.synthetic.generate import draw_values
from tuneline.data.synthetic.names import draw_name

# Names come back in other sentences than commands, so that copying is a habit and not a template.
_NOTES = (
    "Team {a} owns {b}. Ask {a} before you touch {b}.\n",
    "We moved {a} next to {b}, and {b} now calls {a} directly.\n",
    "Alert from {a}: {b} is slow. Owner of {b}: {c}. Owner of {a}: {c}.\n",
    "- {a}\n- {b}\n- {c}\nSorted again: {a}, {b}, {c}.\n",
    "owner: {c}\nname: {a}\nlabels:\n  app: {a}\n  team: {c}\n  part-of: {b}\n",
    "The {a} service reads from {b}; when {b} is down, {a} answers from {c}.\n",
    'export NAME="{a}"\necho {a}\nexport TEAM="{b}"\necho {b}\n',
    "Q: where does {a} run? A: {a} runs in {b}. Q: and {c}? A: {c} runs in {b}.\n",
)


def documentation(family: Family, rng: random.Random) -> str:
    """One entry of a command reference: the doc wording and the command under it."""
    values = draw_values(family, rng, "train")
    return f"# {fill(family.doc, values)}\n$ {fill(family.command, values)}\n"


def _document(families: tuple[Family, ...], rng: random.Random) -> str:
    roll = rng.random()
    if roll < 0.70:
        return documentation(rng.choice(families), rng)
    if roll < 0.78:
        family = rng.choice(families)
        return f"$ {fill(family.command, draw_values(family, rng, 'train'))}\n"
    names = {slot: draw_name(rng, "train") for slot in "abc"}
    return rng.choice(_NOTES).format(**names)


def text_documents(seed: int) -> Iterator[str]:
    """An endless stream of short documents."""
    rng = random.Random(seed)
    families = load_families()
    while True:
        yield _document(families, rng)


def token_rows(
    tokenizer: PreTrainedTokenizerBase, *, row_tokens: int, rows: int, repeat_share: float, seed: int
) -> Iterator[NDArray[np.int64]]:
    """Endless batches of token ids, shape ``[rows, row_tokens]``.

    Documents follow one another, each closed by the end-of-text token. A share of the rows is a
    random stretch of tokens repeated instead: nothing but copying predicts its second half, which
    brings induction heads about early (Olsson et al., 2022, arXiv:2209.11895).
    """
    rng = np.random.default_rng(seed)
    documents = text_documents(seed)
    eos = tokenizer.eos_token_id
    low, high = len(tokenizer.all_special_ids), len(tokenizer)
    pending: list[int] = []
    while True:
        batch = np.empty((rows, row_tokens), dtype=np.int64)
        repeats = rng.random(rows) < repeat_share
        wanted = int((~repeats).sum()) * row_tokens
        while len(pending) < wanted:
            texts = [next(documents) for _ in range(256)]
            for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]:
                pending.extend(ids)
                pending.append(eos)
        batch[~repeats] = np.array(pending[:wanted]).reshape(-1, row_tokens)
        pending = pending[wanted:]
        for row in np.flatnonzero(repeats):
            stretch = rng.integers(low, high, size=rng.integers(4, row_tokens // 2))
            batch[row] = np.resize(stretch, row_tokens)
        yield batch
