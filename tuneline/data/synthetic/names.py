"""Names and numbers that fill the slots of a command family.

A name belongs either to training or to evaluation, by a hash of its spelling. No list has to be
kept: any seed, any size and any later run agree on which names a model must never have seen, and
the tiny base model's own pretraining corpus obeys the same rule.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from typing import Literal

Split = Literal["train", "eval"]

HELD_OUT_SHARE = 0.2

_WORDS = (
    "amber anchor apex atlas aurora badge basil beacon birch bison blaze breeze bridge cactus canyon cargo cedar "
    "chess cinder citrus clover cobalt comet copper coral cosmic crane crystal dahlia delta drift dune eagle echo "
    "ember falcon fern field finch flame flint forest fossil fox frost galaxy garnet ginger glacier granite grove "
    "gull harbor hazel heron honey indigo iris island ivory jade jasper juniper kelp kestrel lagoon lantern larch "
    "lava lemon lilac linen lotus lunar lynx magnet maple marble meadow mercury mint mist moss nectar nimbus north "
    "nova oak oasis ocean olive onyx opal orbit orchid otter owl panda pearl pepper pine planet plum polar poppy "
    "prism quartz quill rain raven reef ridge river robin rocket ruby saffron sage salmon sand scout shadow sierra "
    "silver sky slate snow solar spark spruce star stone storm summit swan swift thistle thunder tiger topaz tulip "
    "tundra valley velvet violet walnut wave willow winter wolf zephyr zinc "
    "admin alert api audit auth backup batch billing cache cart catalog chat checkout cluster config core crm data "
    "edge email events export feed files frontend gateway graph grid images import index ingest jobs ledger login "
    "mail mailer media metrics mobile nodes notify orders payments portal pricing profile proxy queue ranking "
    "reports router sales scoring search session shop signup sync tasks tickets tokens track users vault video "
    "wallet web worker"
).split()
_VOCABULARY = frozenset(_WORDS)
_ONSETS = "b c d f g h j k l m n p r s t v w z br cl dr fl gr kr pl st tr".split()
_VOWELS = "a e i o u ai ea io ou".split()
_CODAS = ["", "", "", "l", "n", "r", "s", "t", "x", "m"]


def is_held_out(name: str) -> bool:
    """Whether a name belongs to evaluation (and so must never be trained on).

    A bare dictionary word always belongs to training: it is vocabulary, not a name to copy, and a
    model that has only ever seen ``owl-7`` and ``owl-north`` cannot know that ``owl`` may end there.
    """
    if name in _VOCABULARY:
        return False
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:4], "big") < HELD_OUT_SHARE * 2**32


def _pseudoword(rng: random.Random) -> str:
    syllables = rng.randint(2, 3)
    return "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(syllables))


def _any_name(rng: random.Random) -> str:
    word = _pseudoword(rng) if rng.random() < 0.2 else rng.choice(_WORDS)
    match rng.random():
        case roll if roll < 0.3:
            return word
        case roll if roll < 0.8:
            return f"{word}-{rng.choice(_WORDS)}"
        case _:
            return f"{word}-{rng.randint(1, 99)}"


def draw_name(rng: random.Random, split: Split) -> str:
    """Draw a name that belongs to the given split."""
    while True:
        name = _any_name(rng)
        if is_held_out(name) == (split == "eval"):
            return name


def _metric(rng: random.Random, split: Split) -> str:
    while True:
        name = f"{rng.choice(_WORDS)}_{rng.choice(_WORDS)}"
        if is_held_out(name) == (split == "eval"):
            return name


# Slots that are not free names. Numbers and fixed choices are the same in both splits: what an
# assistant must copy without having seen it are the names.
_SPECIAL: dict[str, Callable[[random.Random, Split], str]] = {
    "count": lambda rng, _: str(rng.randint(2, 60)),
    "number": lambda rng, _: str(rng.randint(1, 999)),
    "port": lambda rng, _: str(rng.randint(1024, 9999)),
    "port2": lambda rng, _: str(rng.choice([80, 443, 3000, 5000, 8000, 8080, 9090])),
    "decimal": lambda rng, _: f"0.{rng.randint(1, 999):03d}",
    "version": lambda rng, _: f"{rng.randint(0, 9)}.{rng.randint(0, 19)}.{rng.randint(0, 9)}",
    "tag": lambda rng, _: f"{rng.randint(0, 9)}.{rng.randint(0, 19)}",
    "shell": lambda rng, _: rng.choice(["bash", "sh", "zsh"]),
    "quantile": lambda rng, _: rng.choice(["0.5", "0.9", "0.95", "0.99"]),
    "mlstage": lambda rng, _: rng.choice(["staging", "production", "archived"]),
    "metric": _metric,
}


def draw_slot(slot: str, rng: random.Random, split: Split) -> str:
    """Draw a value for a slot such as ``namespace`` (a name) or ``port`` (a number)."""
    special = _SPECIAL.get(slot)
    return special(rng, split) if special else draw_name(rng, split)
