"""What is wrong with a config: one problem, its place, and the error that tells all of them at once."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from tuneline.errors import UserError

KeyPath = tuple[str | int, ...]

# Names that other tools and older habits use for ours.
_OTHER_NAMES = {
    "alpha": "lora_alpha",
    "dora": "use_dora",
    "dropout": "lora_dropout",
    "eval": "evaluation",
    "gpu_memory": "gpu_memory_utilization",
    "lora_r": "r",
    "lora_rank": "r",
    "lr": "learning_rate",
    "lr_scheduler": "scheduler",
    "lr_scheduler_type": "scheduler",
    "max_seq_length": "max_length",
    "model_name_or_path": "base",
    "model_name": "base",
    "num_epochs": "epochs",
    "num_train_epochs": "epochs",
    "per_device_train_batch_size": "micro_batch_tokens",
    "rank": "r",
    "rslora": "use_rslora",
    "steps": "max_steps",
    "train_batch_size": "batch_tokens",
}


@dataclass(frozen=True)
class Place:
    """Where a key or value was written: a file with line and column (from 1), or a ``--set`` option."""

    origin: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.origin, self.line, self.column) if part is not None)


@dataclass(frozen=True)
class Problem:
    """One thing to correct.

    Attributes:
        place: where it stands.
        path: the key, from the top of the config.
        what: what is wrong, with the value that was given.
        allowed: what would be right; may be empty.
        nearest: the valid key or value that was probably meant; may be empty.
    """

    place: Place
    path: KeyPath
    what: str
    allowed: str = ""
    nearest: str = ""

    def __str__(self) -> str:
        key = f" {dotted(self.path)}:" if self.path else ""
        meant = f" Did you mean {self.nearest}?" if self.nearest else ""
        allowed = f"\n      allowed: {self.allowed}" if self.allowed else ""
        return f"{self.place}:{key} {self.what}.{meant}{allowed}"


@dataclass(frozen=True)
class Finding:
    """What does not fit together, at which key, and what to do instead: a problem before it is known who wrote it."""

    path: KeyPath
    what: str
    allowed: str = ""


class ConfigError(UserError):
    """A config cannot be used. Nothing has been loaded or changed.

    Attributes:
        problems: all of them, in the order of the file.
    """

    def __init__(self, name: str, problems: Iterable[Problem]) -> None:
        in_order = sorted(problems, key=lambda p: (p.place.line is None, p.place.origin != name, p.place.line or 0))
        self.problems = tuple(in_order)
        count = "a problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__("\n  ".join([f"{name} has {count}:", *map(str, self.problems)]))


def dotted(path: KeyPath) -> str:
    """A key path as ``--set`` takes it: ``data.sources.0.path``."""
    return ".".join(map(str, path))


def shown(value: object) -> str:
    """A value as it was given, cut where it gets long: enough to recognise it by."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"


def other_name(given: str, allowed: Iterable[str]) -> str:
    """Our name for what other tools call ``given``, or nothing."""
    ours = _OTHER_NAMES.get(given, "")
    return ours if ours in allowed else ""


def nearest(given: object, allowed: Iterable[str]) -> str:
    """The allowed name that is written most like the given one, or nothing."""
    names, text = list(allowed), str(given)
    folded = {name.lower().replace("-", "_"): name for name in names}
    close = difflib.get_close_matches(text.lower().replace("-", "_"), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else ""
