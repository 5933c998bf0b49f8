"""The configs for real hub models: planned as their page says, and tried two layers deep with random weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from tests.training.families import save_base
from tuneline import paths
from tuneline.config import load_config
from tuneline.data.synthetic import generate_records
from tuneline.prompts.render import render_prompt
from tuneline.training.base_model import load_tokenizer
from tuneline.training.job import TrainingJob
from tuneline.training.plan import card, plan
from tuneline.training.train import train

REAL = sorted(path.stem for path in paths.CONFIGS.glob("*gb.yaml"))
PAGE = paths.REPO / "docs" / "configs.md"


def _written() -> list[list[str]]:
    """The page's table: config, model, method, GPU, GiB, tokens/s, licence, gated."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| `configs/")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_config_for_a_real_model_is_on_the_page_with_what_the_planner_says() -> None:
    right = []
    for file, _, method, gpu, _, _, _, gated in _written():
        config = load_config(paths.REPO / file.strip("`"))
        planned = plan(config, card(gpu.split(" x ")[-1]))
        assert planned.fits and planned.tokens_per_second is not None, file
        gib, speed = planned.training.total / 2**30, float(f"{planned.tokens_per_second:.2g}")
        licence = config.model.license or ""
        right.append([file, config.model.base, method, gpu, f"{gib:.1f}", f"{speed:,.0f}", licence, gated])
    table = "\n".join(f"| {' | '.join(row)} |" for row in right)
    assert _written() == right, f"docs/configs.md should have\n{table}"
    assert sorted(row[0] for row in right) == [f"`configs/{name}.yaml`" for name in REAL]


@pytest.mark.parametrize("name", REAL)
def test_a_step_is_trained_with_the_shipped_config(name: str, tmp_path: Path) -> None:
    shipped = load_config(paths.CONFIGS / f"{name}.yaml")
    base = save_base(shipped.model.base, tmp_path / "base")
    small = ("max_steps=2", "epochs=null", "batch_tokens=4096", "micro_batch_tokens=4096", "max_length=1024")
    alone = ("distributed.processes=1", "distributed.strategy=ddp")
    overrides = [f"model.base={base}", *(f"training.{value}" for value in alone + small)]
    config = load_config(paths.CONFIGS / f"{name}.yaml", overrides)
    assert config.training.r == shipped.training.r and config.model.quantization == shipped.model.quantization
    records = list(generate_records(("kubectl",), 24, seed=1))
    outcome = train(TrainingJob(records, config.model, config.training, config.prompt, tmp_path / "adapter"))

    weights = load_file(outcome.adapter.folder / "adapter_model.safetensors")
    assert any(float(w.abs().max()) > 0 for key, w in weights.items() if "lora_B" in key), "nothing was learnt"
    assert outcome.adapter.rank == shipped.training.r
    assert str(tmp_path) not in (outcome.adapter.folder / "adapter_config.json").read_text()
    run = json.loads((outcome.adapter.folder / "training.json").read_text())
    assert run["steps"] == 2
    assert run["device"] and run["software"]["torch"] == torch.__version__
    assert not (outcome.adapter.folder / "README.md").exists(), "the place of the model card is free"

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    prompt = render_prompt(load_tokenizer(config.model), records[0].messages[:1], config.prompt)
    before = model(torch.tensor([prompt])).logits
    model.load_adapter(str(outcome.adapter.folder))
    assert not torch.equal(before, model(torch.tensor([prompt])).logits), "the adapter changes nothing"
