"""From the config's ``training`` section to PEFT's LoRA on a loaded base model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training
from torch import nn
from transformers import PreTrainedModel

from tuneline.errors import UserError
from tuneline.training import pissa
from tuneline.training.loftq import fit_what_rounding_lost

if TYPE_CHECKING:
    from tuneline.config import ModelConfig, TrainingConfig


def add_lora(base: PreTrainedModel, model: ModelConfig, training: TrainingConfig) -> PeftModel:
    """Put a fresh adapter on the base model. All trained weights are float32, whatever the base model's are.

    Pure bfloat16 adapters lose updates smaller than 1/256 of a weight, which is most of them late
    in a run.

    Raises:
        UserError: ``target_modules`` or ``modules_to_save`` name something that the model does not have.
    """
    check_names(base, training)
    if model.quantization != "none":
        base = prepare_model_for_kbit_training(
            base,
            use_gradient_checkpointing=training.gradient_checkpointing is True,
            gradient_checkpointing_kwargs={"use_reentrant": False},
        )
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
        use_dora=training.use_dora,
        # PEFT's own LoftQ needs a GPU and puts other weights below the adapter than the engine has: ours comes after.
        init_lora_weights={"default": True, "loftq": True, "gaussian": "gaussian", "pissa": pissa.PEFT_NAME}[
            training.init_lora_weights
        ],
        modules_to_save=list(training.modules_to_save) or None,
        bias="none",
    )
    if training.init_lora_weights == "pissa":
        # By the seed alone, so that a resumed run takes the same part out of the base model as the run before it.
        with torch.random.fork_rng():
            torch.manual_seed(training.seed)
            adapted: PeftModel = get_peft_model(base, config, autocast_adapter_dtype=True)
        pissa.remember_start(adapted)
    else:
        adapted = get_peft_model(base, config, autocast_adapter_dtype=True)
    if training.init_lora_weights == "loftq":
        fit_what_rounding_lost(adapted, model)
    for parameter in adapted.parameters():
        if parameter.requires_grad:  # PEFT leaves modules_to_save in the base model's dtype
            parameter.data = parameter.data.float()
    return adapted


def check_names(base: PreTrainedModel, training: TrainingConfig) -> None:
    """Refuse names of layers that the model does not have; PEFT would silently pass over some of them.

    Raises:
        UserError: the first such name, with those that exist.
    """
    modules = dict(base.named_modules())
    if isinstance(training.target_modules, tuple):
        # By the class's name, because the quantized kinds of linear layers are no nn.Linear.
        adaptable = {
            name
            for name, module in modules.items()
            if isinstance(module, nn.Linear | nn.Embedding) or type(module).__name__ == "Conv1D"
        }
        for wanted in training.target_modules:
            _check_name("training.target_modules", wanted, modules, adaptable)
    for wanted in training.modules_to_save:
        _check_name("training.modules_to_save", wanted, modules, {name for name, module in modules.items() if name})


def _check_name(key: str, wanted: str, modules: dict[str, nn.Module], allowed: set[str]) -> None:
    matched = [name for name in modules if name == wanted or name.endswith(f".{wanted}")]
    if matched and all(name in allowed for name in matched):
        return
    leaves = sorted({name.rpartition(".")[2] for name in allowed if not name.rpartition(".")[2].isdigit()})
    kind = type(modules[matched[0]]).__name__ if matched else ""
    what = f"is a {kind}, not a linear layer" if matched else "is no layer of the model"
    raise UserError(f"{key}: {wanted!r} {what}", hint=f"This model has {', '.join(leaves)}.")
