"""The configs for real hub models, tried on their architectures: two layers, random weights, one training step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, LlamaConfig, MistralConfig, PreTrainedConfig, Qwen3Config
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from tuneline import paths
from tuneline.config import load_config
from tuneline.data.synthetic import generate_records
from tuneline.training.job import TrainingJob
from tuneline.training.train import train

SHAPE: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 1024,
}
ARCHITECTURES: dict[str, PreTrainedConfig] = {
    "qwen3-0.6b-lora": Qwen3Config(**SHAPE, head_dim=16),
    "mistral-7b-qlora": MistralConfig(**SHAPE),
    "llama-2-7b-lora": LlamaConfig(**SHAPE),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_step_is_trained_with_the_shipped_config(name: str, tmp_path: Path) -> None:
    base = tmp_path / "base"
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(ARCHITECTURES[name]).to(torch.bfloat16).save_pretrained(base)
    AutoTokenizer.from_pretrained(paths.ASSETS / "tiny-base").save_pretrained(base)
    shipped = load_config(paths.CONFIGS / f"{name}.yaml")
    config = load_config(
        paths.CONFIGS / f"{name}.yaml",
        [f"model.base={base}", "model.revision=null", "training.max_steps=2", "training.epochs=null"],
    )
    assert config.training.r == shipped.training.r and config.model.quantization == shipped.model.quantization
    records = list(generate_records(("kubectl",), 64, seed=1))
    outcome = train(TrainingJob(records, config.model, config.training, config.prompt, tmp_path / "adapter"))

    weights = load_file(outcome.adapter.folder / "adapter_model.safetensors")
    assert any(float(w.abs().max()) > 0 for key, w in weights.items() if "lora_B" in key), "nothing was learnt"
    assert outcome.adapter.rank == shipped.training.r
    assert str(tmp_path) not in (outcome.adapter.folder / "adapter_config.json").read_text()
    run = json.loads((outcome.adapter.folder / "training.json").read_text())
    assert run["steps"] == 2
    assert run["device"] and run["software"]["torch"] == torch.__version__
    assert not (outcome.adapter.folder / "README.md").exists(), "the place of the model card is free"
