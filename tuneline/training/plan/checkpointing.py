"""Whether a run computes its activations twice: asked of the planner before the base model is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tuneline.training.plan.architecture import read_architecture
from tuneline.training.plan.memory import training_memory
from tuneline.training.plan.step import UnplannableError

if TYPE_CHECKING:
    from tuneline.config import ModelConfig, TrainingConfig


def with_checkpointing_decided(model: ModelConfig, training: TrainingConfig) -> TrainingConfig:
    """Resolve ``gradient_checkpointing: auto``: no on a CPU, whose memory is ample beside its speed; else by memory.

    Raises:
        UserError: the base model's sizes cannot be had.
    """
    if training.gradient_checkpointing != "auto":
        return training
    twice = torch.cuda.is_available() and checkpointing_needed(model, training, _gpu_bytes(training))
    return training.model_copy(update={"gradient_checkpointing": twice})


def checkpointing_needed(model: ModelConfig, training: TrainingConfig, gpu_bytes: float) -> bool:
    """Whether a GPU would not hold the activations beside everything else, or nobody knows whether it would.

    Args:
        model: the config's section.
        training: the config's section.
        gpu_bytes: memory of the GPU for this process.

    Raises:
        UserError: the base model's sizes cannot be had.
    """
    architecture = read_architecture(model)
    try:
        return training_memory(architecture, model, training, "cuda", checkpointing=False).total > gpu_bytes
    except UnplannableError:
        return True  # a third slower, and never the reason that a run ends


def _gpu_bytes(training: TrainingConfig) -> int:
    """What is free; for several processes the smallest GPU's all, because they must decide alike."""
    processes = training.distributed.processes
    if processes > 1:
        return min(torch.cuda.get_device_properties(index).total_memory for index in range(processes))
    # What an earlier training of this process gave back is kept by torch for the next one.
    kept = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    return torch.cuda.mem_get_info()[0] + kept
