"""The recipe of the tiny base model has the same loader and the same messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuneline.config import ConfigError, load_pretraining_config

RECIPE = """\
name: tiny
output: out
training: {steps: 10, rows: 4, row_tokens: 32, repeat_share: 0.5, learning_rate: 1e-3, muon_learning_rate: 1e-3}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path / "recipe.yaml"


def test_a_recipe_has_defaults_for_shape_and_tokenizer(recipe: Path) -> None:
    config = load_pretraining_config(recipe)
    assert (config.model.hidden_size, config.tokenizer.vocab_size) == (256, 1024)


def test_all_its_mistakes_are_told_at_once(recipe: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_pretraining_config(recipe, ["training.stpes=1", "model.hidden_size=100", "tokenizer.vocab_size=9"])
    assert {problem.path for problem in caught.value.problems} == {
        ("training", "stpes"),
        ("model", "hidden_size"),
        ("tokenizer", "vocab_size"),
    }


def test_heads_must_be_wide_enough_to_turn(recipe: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.hidden_size: is 100, which is not a multiple of"):
        load_pretraining_config(recipe, ["model.hidden_size=100"])
