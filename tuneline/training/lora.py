"""From the config's ``training`` section to PEFT's LoRA on a loaded base model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training
from transformers import PreTrainedModel

if TYPE_CHECKING:
    from tuneline.config import ModelConfig, TrainingConfig


def add_lora(base: PreTrainedModel, model: ModelConfig, training: TrainingConfig) -> PeftModel:
    """Put a fresh adapter on the base model. Its weights are float32, whatever the base model's are.

    Pure bfloat16 adapters lose updates smaller than 1/256 of a weight, which is most of them late
    in a run.
    """
    if model.quantization != "none":
        base = prepare_model_for_kbit_training(base, use_gradient_checkpointing=training.gradient_checkpointing is True)
    elif training.gradient_checkpointing is True:
        base.gradient_checkpointing_enable({"use_reentrant": False})
        base.enable_input_require_grads()
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=training.r,
        lora_alpha=training.lora_alpha,
        lora_dropout=training.lora_dropout,
        target_modules=training.target_modules
        if isinstance(training.target_modules, str)
        else list(training.target_modules),
        use_rslora=training.use_rslora,
        bias="none",
    )
    adapted: PeftModel = get_peft_model(base, config, autocast_adapter_dtype=True)
    return adapted
