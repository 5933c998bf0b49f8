"""What a checkpoint holds beside what transformers saves: the loss since the last moment, the callbacks, the cut.

Weights and states of callbacks are safetensors, all else is JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from safetensors.torch import load_file, save_file
from torch import Tensor

_RUN, _TENSORS = "run.json", "callbacks.safetensors"


@runtime_checkable
class Stateful(Protocol):
    """A callback that has to know after a resumption what it knew before.

    Values of its state are JSON, or tensors by name (``{"best": {"layer.weight": …}}``).
    """

    def state_dict(self) -> dict[str, Any]:
        """What to keep."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what was kept."""


@dataclass
class RunState:
    """The run's own state.

    Attributes:
        pending_loss: sum of the steps' losses since the last logged one.
        last_logged: the step that was logged last.
        cut: into how many passes a micro-batch is cut since memory ran out.
        resumed_from: steps at which the run was taken up again.
    """

    pending_loss: float = 0.0
    last_logged: int = 0
    cut: int = 1
    resumed_from: tuple[int, ...] = ()


def save_state(folder: Path, run: RunState, callbacks: Iterable[Any]) -> None:
    """Write the run's and the callbacks' state into a checkpoint."""
    states: dict[str, Any] = {}
    tensors: dict[str, Tensor] = {}
    for callback in callbacks:
        if isinstance(callback, Stateful):
            name = type(callback).__name__
            states[name] = {}
            for key, value in callback.state_dict().items():
                if isinstance(value, dict) and value and all(isinstance(one, Tensor) for one in value.values()):
                    tensors |= {f"{name}/{key}/{inner}": one.contiguous() for inner, one in value.items()}
                else:
                    states[name][key] = value
    (folder / _RUN).write_text(json.dumps({"run": asdict(run), "callbacks": states}))
    if tensors:
        save_file(tensors, folder / _TENSORS)


def load_state(folder: Path, callbacks: Iterable[Any]) -> RunState:
    """Give the callbacks of a new process what those of the old one had."""
    document = json.loads((folder / _RUN).read_text())
    states: dict[str, dict[str, Any]] = document["callbacks"]
    if (folder / _TENSORS).is_file():
        for path, tensor in load_file(folder / _TENSORS).items():
            name, key, inner = path.split("/", 2)
            states[name].setdefault(key, {})[inner] = tensor
    for callback in callbacks:
        if isinstance(callback, Stateful) and type(callback).__name__ in states:
            callback.load_state_dict(states[type(callback).__name__])
    return RunState(**document["run"] | {"resumed_from": tuple(document["run"]["resumed_from"])})
