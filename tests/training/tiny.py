"""A random base model of two blocks with a real tokenizer, and trainings on it that take a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from tuneline import paths
from tuneline.config import ModelConfig, TrainingConfig
from tuneline.data.synthetic import generate_records
from tuneline.prompts.template import PromptTemplate
from tuneline.training.job import TrainingJob

RECORDS = tuple(generate_records(("kubectl",), 24, seed=0))
SHAPE: dict[str, Any] = {
    "vocab_size": 1024,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.1,
}


def write_base(folder: Path, *, tied: bool = False) -> Path:
    """Write a random Llama, float32, with the shipped tokenizer."""
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**SHAPE, tie_word_embeddings=tied)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(paths.REPO / "assets" / "tiny-base").save_pretrained(folder)
    return folder


def job(
    base: Path, output: Path, *, dtype: str = "float32", quantization: str = "none", **training: Any
) -> TrainingJob:
    """A training of a few steps."""
    settings = {"max_steps": 8, "learning_rate": 1e-2, "batch_tokens": 1024, "micro_batch_tokens": 1024} | training
    return TrainingJob(
        records=RECORDS,
        model=ModelConfig(base=str(base), dtype=dtype, quantization=quantization),  # type: ignore[arg-type]
        training=TrainingConfig(**settings),
        prompt=PromptTemplate(),
        output=output,
    )
