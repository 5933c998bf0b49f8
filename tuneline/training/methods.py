"""What of the base model is trained: a fresh adapter on it, or all of its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peft import PeftModel
from transformers import PreTrainedModel

from tuneline.training.lora import add_lora

if TYPE_CHECKING:
    from tuneline.config import ModelConfig, TrainingConfig


def make_trainable(base: PreTrainedModel, model: ModelConfig, training: TrainingConfig) -> PreTrainedModel | PeftModel:
    """Make the loaded base model ready for the loop; gradients flow to what the method trains and to nothing else.

    Raises:
        UserError: the config names layers that the model does not have.
    """
    if training.method == "full":
        return train_all(base, checkpointing=training.gradient_checkpointing is True)
    return add_lora(base, model, training)


def train_all(base: PreTrainedModel, *, checkpointing: bool) -> PreTrainedModel:
    """Train every weight, in float32 under the loop's autocast.

    AdamW moves a weight by about the learning rate. At 1e-5 that is below half a step of bfloat16 (6e-5 for a weight of
    0.02), so bfloat16 weights would never move at all. The price is 4 bytes a weight instead of 2.
    """
    base.float()
    base.requires_grad_(True)
    if checkpointing:
        base.gradient_checkpointing_enable({"use_reentrant": False})
    return base
