"""Parts of section ``training`` that have keys of their own: checkpoints, validation and devices."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tuneline.config.section import Section


class CheckpointsConfig(Section):
    """When the state of a run is saved to the artifact store, so that the same command goes on where it ended."""

    every_minutes: float = Field(default=10.0, gt=0)
    """Longest time between two checkpoints, minutes: what a killed machine costs at most."""

    every_steps: int | None = Field(default=None, gt=0)
    """Save after every so many optimizer steps too; left out, time alone decides."""

    keep: int = Field(default=2, gt=0)
    """How many are kept; older ones are removed once a newer one is complete."""


class ValidationConfig(Section):
    """Records kept back from training, on which the loss is measured while it runs."""

    share: float = Field(gt=0, lt=1)
    """Share of the training records that is kept back."""

    every_steps: int | None = Field(default=None, gt=0)
    """Optimizer steps between two measurements; left out, a twentieth of the run."""

    patience: int | None = Field(default=None, gt=0)
    """Stop after so many measurements without a lower loss, and keep the weights of the lowest; left out, never."""


class DistributedConfig(Section):
    """Several processes for one training, started by accelerate inside the step."""

    processes: int = Field(default=1, gt=0)
    """How many: one for each GPU of the machine, or on CPU as many as have a core of their own."""

    strategy: Literal["ddp", "fsdp", "deepspeed"] = "ddp"
    """``ddp`` holds the model in every process; ``fsdp`` and ``deepspeed`` (ZeRO 3) share it out among them."""
