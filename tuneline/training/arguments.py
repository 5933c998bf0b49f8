"""From the config's ``training`` section to transformers' arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from transformers import TrainingArguments

from tuneline.training.batches import Rows
from tuneline.training.optimizer import optimizer_name

if TYPE_CHECKING:
    from tuneline.config import ModelConfig, TrainingConfig


def training_arguments(training: TrainingConfig, model: ModelConfig, rows: Rows, scratch: str) -> TrainingArguments:
    """Say how transformers' Trainer has to run."""
    rows_per_micro_batch = max(1, training.micro_batch_tokens // training.max_length)
    if training.packing == "off" or max(len(rows[i]) for i in range(len(rows))) == 1:
        mean = sum(rows.lengths) / len(rows)
        rows_per_micro_batch = max(1, int(training.micro_batch_tokens / mean))
    accumulation = max(1, round(training.batch_tokens / training.micro_batch_tokens))
    rows_per_step = rows_per_micro_batch * accumulation
    steps = training.max_steps or max(1, round((training.epochs or 1.0) * len(rows) / rows_per_step))
    cuda = torch.cuda.is_available()
    return TrainingArguments(
        output_dir=scratch,
        max_steps=steps,
        per_device_train_batch_size=min(rows_per_micro_batch, len(rows)),
        gradient_accumulation_steps=accumulation,
        learning_rate=training.learning_rate,
        lr_scheduler_type=training.scheduler,
        warmup_steps=round(training.warmup_ratio * steps),
        weight_decay=training.weight_decay,
        max_grad_norm=training.max_grad_norm,
        optim=optimizer_name(training),
        bf16=model.dtype == "bfloat16",
        fp16=model.dtype == "float16" and cuda,
        use_cpu=not cuda,
        seed=training.seed,
        train_sampling_strategy="random",
        logging_steps=max(1, steps // 50),
        logging_first_step=True,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_drop_last=False,
    )
