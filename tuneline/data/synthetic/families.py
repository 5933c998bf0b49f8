"""Command families: what can be asked, in which words, and the one command that answers.

The families are data (``families/*.yaml``), so that adding a command means adding five lines of
YAML and no code.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

_FAMILIES = Path(__file__).parent / "families"
_SLOT = re.compile(r"\{([a-z0-9]+)\}")  # PromQL's own braces hold quotes and never match
_CHOICE = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")

TOOLS = ("kubectl", "helm", "docker", "git", "mlflow", "dvc", "zenml", "prometheus")


@dataclass(frozen=True)
class Family:
    """One command shape.

    Attributes:
        id: ``tool/family``, unique.
        command: the answer, with ``{slots}``.
        ask: question patterns; ``[a|b]`` stands for either, ``{slot}`` for a value.
        doc: documentation's wording, used in pretraining only.
    """

    id: str
    tool: str
    command: str
    ask: tuple[str, ...]
    doc: str

    @property
    def slots(self) -> list[str]:
        """The slots in the order in which the command needs them, each once."""
        return list(dict.fromkeys(_SLOT.findall(self.command)))


@cache
def load_families(tools: tuple[str, ...] = TOOLS) -> tuple[Family, ...]:
    """Read the families of the given tools.

    Raises:
        ValueError: a tool is unknown, or a question asks with a slot its command does not have.
    """
    families = []
    for tool in tools:
        if tool not in TOOLS:
            raise ValueError(f"unknown tool {tool!r}: choose from {', '.join(TOOLS)}")
        document = yaml.safe_load((_FAMILIES / f"{tool}.yaml").read_text())
        for row in document["families"]:
            family = Family(f"{tool}/{row['id']}", tool, row["command"], tuple(row["ask"]), row["doc"])
            for wording in (*family.ask, family.doc):
                if set(_SLOT.findall(wording)) != set(family.slots):
                    raise ValueError(f"{family.id}: {wording!r} does not name exactly the slots of its command")
            families.append(family)
    return tuple(families)


def fill(text: str, values: dict[str, str]) -> str:
    """Put values into the slots of a command or wording."""
    return _SLOT.sub(lambda match: values[match[1]], text)


def phrase(pattern: str, rng: random.Random) -> str:
    """Choose one wording out of a question pattern, slots still open."""
    chosen = _CHOICE.sub(lambda match: rng.choice(match[1].split("|")), pattern)
    return re.sub(r" +", " ", chosen).strip()
