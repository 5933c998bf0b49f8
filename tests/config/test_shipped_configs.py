"""The configs and files that the repository ships."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tuneline.config import load_config, load_pretraining_config
from tuneline.paths import ASSETS, CONFIGS, REPO
from tuneline.prompts import PromptTemplate

EXPERIMENTS = sorted(path.name for path in CONFIGS.glob("*.yaml") if not path.name.startswith("pretrain"))
EXAMPLE = ASSETS / "examples" / "devops-alpaca.json"


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_loads_and_its_written_form_too(name: str, tmp_path: Path) -> None:
    config = load_config(CONFIGS / name)
    (tmp_path / name).write_text(config.to_yaml())
    assert load_config(tmp_path / name) == config


def test_a_file_of_a_real_model_says_method_and_memory_and_means_them() -> None:
    for path in CONFIGS.glob("*gb.yaml"):
        config = load_config(path)
        assert (config.model.quantization == "nf4") == ("-qlora-" in path.stem), path
        gpus, _, memory = path.stem.rpartition("-")[2].rpartition("x")
        assert config.training.distributed.processes == int(gpus or 1), path
        assert config.serving.profile == f"gpu-{memory}", path
        assert config.serving.quantization == ("bitsandbytes" if "-qlora-" in path.stem else None), path
        assert config.model.license, path


def test_the_tiny_bases_recipe_loads() -> None:
    config = load_pretraining_config(CONFIGS / "pretrain-tiny.yaml", ["training.steps=3"])
    assert config.training.steps == 3


@pytest.mark.parametrize("path", sorted((CONFIGS / "prompts").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_prompt_can_be_chosen_and_is_named_like_its_file(path: Path) -> None:
    prompt = load_config(CONFIGS / "qwen3-0.6b-lora-8gb.yaml", [f"prompt={path}"]).prompt
    assert isinstance(prompt, PromptTemplate)
    assert prompt.name == path.stem


def test_the_next_version_fits_into_the_running_engine() -> None:
    first, following = load_config(CONFIGS / "tiny.yaml"), load_config(CONFIGS / "tiny-next.yaml")
    assert following.name == first.name
    assert following.model == first.model
    assert following.serving == first.serving
    assert set(first.data.sources[0].tools) < set(following.data.sources[0].tools)


def test_the_example_file_is_what_its_card_writes(tmp_path: Path) -> None:
    card = (EXAMPLE.parent / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    (tmp_path / "assets" / "examples").mkdir(parents=True)
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(REPO)}, check=True)
    assert (tmp_path / "assets" / "examples" / EXAMPLE.name).read_bytes() == EXAMPLE.read_bytes()


def test_the_example_file_has_enough_rows_for_a_verdict() -> None:
    config = load_config(CONFIGS / "alpaca-file.yaml")
    rows = json.loads(EXAMPLE.read_text())
    assert config.data.evaluation.holdout_count(len(rows)) >= config.gate.min_items
    assert all(row.keys() == {"instruction", "input", "output"} and row["output"] for row in rows)
