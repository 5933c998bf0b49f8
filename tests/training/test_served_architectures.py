"""An adapter trained on each architecture of the shipped configs answers in vLLM as it does in transformers."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from tests.training.families import save_base
from tuneline import paths
from tuneline.config import ModelConfig, TrainingConfig
from tuneline.data.synthetic import generate_records
from tuneline.prompts.render import render_training
from tuneline.prompts.template import PromptTemplate
from tuneline.training.base_model import load_tokenizer
from tuneline.training.job import TrainingJob
from tuneline.training.train import train

# One of each class of models; LLaMA-2 is Llama 3's with other numbers.
BASES = (
    "meta-llama/Llama-3.1-8B-Instruct",
    "mistralai/Mistral-7B-Instruct-v0.3",
    "Qwen/Qwen3-4B",
    "google/gemma-3-1b-it",
    "microsoft/Phi-4-mini-instruct",
)
# Both in float32: sums in another order. Another adapter, or none, is 0.1 and more away.
TOLERANCE = 2e-3

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(not paths.serving_python().exists(), reason="no serving environment; ./setup.sh makes it"),
]


def test_adapters_of_all_architectures_are_served_with_the_log_probabilities_they_have(
    tmp_path: Path, subtests: pytest.Subtests
) -> None:
    jobs = [_trained(name, tmp_path / str(number)) for number, name in enumerate(BASES)]
    job, result = tmp_path / "job.json", tmp_path / "result.json"
    job.write_text(json.dumps(jobs))
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    command = [str(paths.serving_python()), "-m", "tests.training.served_log_probabilities", str(job), str(result)]
    environment = os.environ | {"TMPDIR": str(temporary)}
    ended = subprocess.run(command, cwd=paths.REPO, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    for name, one, served in zip(BASES, jobs, json.loads(result.read_text()), strict=True):
        with subtests.test(name):
            base = AutoModelForCausalLM.from_pretrained(one["base"], dtype=torch.float32)
            without = _log_probabilities(base, one["texts"])
            base.load_adapter(one["adapter"])
            expected = _log_probabilities(base, one["texts"])
            assert _difference(served, expected) < TOLERANCE
            assert _difference(without, expected) > 50 * TOLERANCE, "the adapter does too little to be missed"


def _trained(name: str, folder: Path) -> dict[str, Any]:
    """Train an adapter on a small base model of a family; what ``served_log_probabilities`` is to measure."""
    model = ModelConfig(base=str(save_base(name, folder / "base")), dtype="float32")
    sizes = {"batch_tokens": 2048, "micro_batch_tokens": 2048, "max_length": 256}
    training = TrainingConfig(r=8, learning_rate=5e-3, max_steps=4, **sizes)  # type: ignore[arg-type]
    records = list(generate_records(("kubectl",), 24, seed=1))
    train(TrainingJob(records, model, training, PromptTemplate(), folder / "adapter"))
    tokenizer = load_tokenizer(model)
    texts = [render_training(tokenizer, record.messages, PromptTemplate())[0] for record in records[:4]]
    return {"base": model.base, "adapter": str(folder / "adapter"), "texts": texts}


@torch.no_grad()
def _log_probabilities(model: Any, texts: list[list[int]]) -> list[list[float]]:
    found = []
    for text in texts:
        logits = model(torch.tensor([text]), use_cache=False).logits[0, :-1]
        found.append(logits.log_softmax(-1).gather(-1, torch.tensor(text[1:])[:, None])[:, 0].tolist())
    return found


def _difference(one: list[list[float]], other: list[list[float]]) -> float:
    pairs = [pair for left, right in zip(one, other, strict=True) for pair in zip(left, right, strict=True)]
    return max(abs(left - right) for left, right in pairs)
