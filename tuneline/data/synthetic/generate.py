"""Questions and their commands, made from the families: seeded, any size, balanced over families."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tuneline.data.records import ChatRecord, Message
from tuneline.data.synthetic.families import Family, fill, load_families, phrase
from tuneline.data.synthetic.names import Split, draw_slot


def draw_values(family: Family, rng: random.Random, split: Split) -> dict[str, str]:
    """Draw a value for every slot of a family."""
    return {slot: draw_slot(slot, rng, split) for slot in family.slots}


def generate_records(
    tools: tuple[str, ...], size: int, *, seed: int, split: Split = "train", system: str | None = None
) -> Iterator[ChatRecord]:
    """Generate distinct question/command records.

    Families take turns, so a set of any size covers them evenly. Asking for more records only
    appends: the first ``n`` of a larger set are the smaller set.

    Args:
        tools: which tools' families to ask about.
        size: number of records.
        seed: the same seed gives the same records, on any machine.
        split: ``train`` and ``eval`` never share a name.
        system: an optional system message for every record.

    Raises:
        ValueError: a tool is unknown.
    """
    rng = random.Random(f"{seed}/{split}")
    families = load_families(tools)
    seen: set[str] = set()
    made = 0
    while made < size:
        order = rng.sample(families, len(families))
        for family in order[: size - made]:
            while True:
                values = draw_values(family, rng, split)
                question = fill(phrase(rng.choice(family.ask), rng), values)
                if question not in seen:
                    break
            seen.add(question)
            messages = [
                Message(role="user", content=question),
                Message(role="assistant", content=fill(family.command, values)),
            ]
            if system:
                messages.insert(0, Message(role="system", content=system))
            yield ChatRecord(id=f"{split}-{made:06d}", source=family.id, messages=messages)
            made += 1
