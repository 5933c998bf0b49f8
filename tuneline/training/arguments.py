"""From the config's ``training`` section to transformers' arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from transformers import TrainingArguments

from tuneline.training.batches import Plan
from tuneline.training.distributed.strategy import sharing
from tuneline.training.optimizer import optimizer_name

if TYPE_CHECKING:
    from tuneline.config import ModelConfig, TrainingConfig


def training_arguments(
    training: TrainingConfig, model: ModelConfig, plan: Plan, scratch: str, *, autocast: bool = True
) -> TrainingArguments:
    """Say how transformers' Trainer has to run.

    Args:
        training: the config's section.
        model: the base model.
        plan: the run's optimizer steps.
        scratch: a folder for what the Trainer writes.
        autocast: whether torch chooses each operation's type (``tuneline.training.fast.needs_autocast``).
    """
    cuda = torch.cuda.is_available()
    return TrainingArguments(
        output_dir=scratch,
        max_steps=plan.steps,
        per_device_train_batch_size=1,  # an item is an optimizer step, with its accumulation inside
        gradient_accumulation_steps=1,
        learning_rate=training.learning_rate,
        lr_scheduler_type=training.scheduler,
        warmup_steps=round(training.warmup_ratio * plan.steps),
        weight_decay=training.weight_decay,
        max_grad_norm=training.max_grad_norm,
        optim=optimizer_name(training),
        bf16=autocast and model.dtype == "bfloat16",
        fp16=autocast and model.dtype == "float16" and cuda,
        use_cpu=not cuda,
        seed=training.seed,
        train_sampling_strategy="sequential",
        dataloader_num_workers=1 if cuda else 0,
        torch_compile=training.torch_compile,
        logging_steps=max(1, plan.steps // 50),
        logging_first_step=True,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_drop_last=False,
        **sharing(training, cuda=cuda),
    )
