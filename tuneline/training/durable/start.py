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
        step: optimizer steps done in the state that is taken up; None begins anew.
        cut: into how many passes a micro-batch is cut from the beginning, see ``memory``.
    """

    scratch: Path
    store: CheckpointStore | None
    step: int | None = None
    cut: int = 1

    @property
    def checkpoint(self) -> Path:
        """Where the state lies that is taken up."""
        return self.scratch / "checkpoint"
