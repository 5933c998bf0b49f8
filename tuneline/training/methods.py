"""What of the base model is trained: a fresh adapter on it, or all of its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peft import PeftModel
from transformers import PreTrainedModel

from tuneline.training.lora import add_lora

if TYPE_CHECKING:
    from tuneline.config import ModelConfig, TrainingConfig


def make_trainable(base: PreTrainedModel, model: ModelConfig, training: TrainingConfig) -> PreTrainedModel | PeftModel:
    """Make the loaded base model ready for the loop; gradients flow to what the method trains and to nothing else."""
    return add_lora(base, model, training)
