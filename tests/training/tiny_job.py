"""A training of seconds: a model of two layers with random weights, and the jobs that train it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from tuneline import paths
from tuneline.config import ModelConfig, TrainingConfig
from tuneline.data.records import ChatRecord
from tuneline.data.synthetic import generate_records
from tuneline.prompts.template import PromptTemplate
from tuneline.training.job import TrainingJob


def tiny_base(folder: Path, *, seed: int = 0) -> Path:
    """Write a base model of two layers, 64 wide, float32."""
    torch.manual_seed(seed)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=1024,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
        )
    ).save_pretrained(folder)
    AutoTokenizer.from_pretrained(paths.ASSETS / "tiny-base").save_pretrained(folder)
    return folder


def tiny_job(
    base: Path, output: Path, *, records: Sequence[ChatRecord] | None = None, training: dict[str, Any], **job: Any
) -> TrainingJob:
    """A job of 12 steps on packed rows of 128 tokens; ``training`` overrides the section, ``job`` the job's fields."""
    settings: dict[str, Any] = {
        "r": 4,
        "learning_rate": 5e-3,
        "max_steps": 12,
        "batch_tokens": 512,
        "micro_batch_tokens": 256,
        "max_length": 128,
        "scheduler": "linear",
    }
    return TrainingJob(
        records=list(generate_records(("kubectl",), 64, seed=1)) if records is None else records,
        model=ModelConfig(base=str(base), dtype="float32"),
        training=TrainingConfig.model_validate(settings | training),
        prompt=PromptTemplate(),
        output=output,
        **job,
    )
