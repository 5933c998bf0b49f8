"""From where a process begins: nothing, or a state that was brought to its scratch folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tuneline.training.durable.store import CheckpointStore


@dataclass(frozen=True)
class Start:
    """What a training process is given beside its job.

    Attributes:
        scratch: a folder of this run, the same for all its processes.
        store: where checkpoints go; None keeps none.
        cut: into how many passes a micro-batch is cut from the beginning, see ``memory``.
    """

    scratch: Path
    store: CheckpointStore | None
    cut: int = 1

    @property
    def checkpoint(self) -> Path:
        """Where the state lies that is taken up; no folder if there is none."""
        return self.scratch / "checkpoint"
