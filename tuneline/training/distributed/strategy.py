"""How several processes share a training: what transformers and accelerate are told for each strategy."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from tuneline.config import TrainingConfig


def sharing(training: TrainingConfig, *, cuda: bool) -> dict[str, Any]:
    """Arguments for ``TrainingArguments``; none for a single process."""
    if training.distributed.processes == 1:
        return {}
    if training.distributed.strategy == "fsdp":
        return {"fsdp": True, "fsdp_config": fsdp_config(training)}
    if training.distributed.strategy == "deepspeed":
        return {"deepspeed": deepspeed_config(training)}
    # Every trained weight has a gradient in every pass, so looking for unused ones is lost time.
    arguments: dict[str, Any] = {"ddp_find_unused_parameters": False}
    return arguments if cuda else arguments | {"ddp_backend": "gloo"}


def fsdp_config(training: TrainingConfig) -> dict[str, Any]:
    """FSDP2: layers are sharded one by one, and put together again for a checkpoint, so that any number can resume."""
    config: dict[str, Any] = {
        "version": 2,
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "reshard_after_forward": True,
        "state_dict_type": "FULL_STATE_DICT",
        "cpu_ram_efficient_loading": False,
    }
    if training.gradient_checkpointing is True:
        config["activation_checkpointing"] = True
    return config


def deepspeed_config(training: TrainingConfig) -> dict[str, Any]:
    """ZeRO 3 (arXiv:1910.02054) shares out weights, gradients and optimizer state; transformers fills in ``auto``."""
    return {
        "zero_optimization": {
            "stage": 3,
            "overlap_comm": True,
            "contiguous_gradients": True,
            "stage3_gather_16bit_weights_on_model_save": True,
        },
        "bf16": {"enabled": "auto"},
        "fp16": {"enabled": "auto"},
        "gradient_clipping": training.max_grad_norm,
        "gradient_accumulation_steps": "auto",
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
    }


def is_sharded(training: TrainingConfig) -> bool:
    """Whether no process holds the whole model."""
    return training.distributed.processes > 1 and training.distributed.strategy != "ddp"


def device_of_process(training: TrainingConfig) -> str | None:
    """Where this process loads the base model to; None for a single process, which may take all GPUs."""
    if training.distributed.processes == 1:
        return None
    if not torch.cuda.is_available() or is_sharded(training):
        return "cpu"
    return f"cuda:{os.environ['LOCAL_RANK']}"
