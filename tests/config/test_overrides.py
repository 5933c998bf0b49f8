"""``--set section.key=value``."""

from __future__ import annotations

import pytest

from tests.config.conftest import Fail, Load, Write
from tuneline.config import load_config


def test_values_are_yaml_and_the_last_one_wins(load: Load) -> None:
    config = load(
        overrides=[
            "training.learning_rate=1e-3",
            "training.learning_rate=0",
            "training.target_modules=[q_proj, v_proj]",
            "gate.metric=chrf",
            "serving.enforce_eager=true",
            "model.revision=main",
        ]
    )
    assert config.training.learning_rate == 0
    assert config.training.target_modules == ("q_proj", "v_proj")
    assert config.gate.metric == "chrf"
    assert config.serving.enforce_eager is True
    assert config.model.revision == "main"


def test_list_items_go_by_their_index(load: Load) -> None:
    config = load(overrides=["data.sources.0.size=7", "data.evaluation.sources.0.size=77"])
    assert config.data.sources[0].size == 7
    assert config.data.evaluation.sources[0].size == 77


def test_a_whole_section_or_item_can_be_given(load: Load) -> None:
    config = load(
        overrides=[
            "data.sources.0={type: hub, dataset: a/b}",
            "data.evaluation={holdout: 0.2, seed: 3}",
        ]
    )
    assert config.data.sources[0].dataset == "a/b"
    assert (config.data.evaluation.holdout, config.data.evaluation.seed) == (0.2, 3)


def test_a_value_may_contain_equals_signs_and_be_empty(load: Load) -> None:
    config = load(overrides=["prompt.system=a=b", "training.max_steps=", "training.epochs=2"])
    assert config.prompt.system == "a=b"
    assert config.training.max_steps is None


def test_a_prompt_can_be_chosen_and_changed(load: Load, write: Write) -> None:
    write(text="name: mine\nsystem: Be brief.\n", name="prompt.yaml")
    config = load(overrides=["prompt=prompt.yaml", "prompt.stop=[END]"])
    assert (config.prompt.name, config.prompt.system, config.prompt.stop) == ("mine", "Be brief.", ("END",))


@pytest.mark.parametrize(
    ("option", "path", "what"),
    [
        ("training.lr=1", ("training", "lr"), "unknown key (given 1)"),
        ("trainig.r=1", ("trainig",), 'unknown section (given {"r": 1})'),
        ("training.r=many", ("training", "r"), 'is "many"'),
        ("data.sources.4.size=1", ("data", "sources", 4, "size"), "there is no data.sources.4"),
        ("data.sources.first.size=1", ("data", "sources", "first", "size"), "there is no data.sources.first"),
        ("training.r.deep=1", ("training", "r"), 'is {"deep": 1}'),
        ("training.r", (), "is not of the form section.key=value"),
        ("=3", (), "is not of the form section.key=value"),
        ("training.target_modules=[q_proj", (), "is not YAML"),
    ],
)
def test_a_mistake_names_the_option_and_no_line(fail: Fail, option: str, path: tuple[str, ...], what: str) -> None:
    (problem,) = fail(overrides=[option]).problems
    assert str(problem.place) == f"--set {option}"
    assert problem.path == path
    assert what in problem.what


def test_a_mistake_below_an_overridden_section_names_the_option(fail: Fail) -> None:
    option = "training={max_steps: 1, lora_dropout: 2}"
    (problem,) = fail("  max_steps: 10", "  max_steps: 10\n  lora_dropout: 0.1", [option]).problems
    assert str(problem.place) == "--set training={max_steps: 1, lora_dropout: 2}"
    assert problem.path == ("training", "lora_dropout")


def test_the_file_is_left_as_it_is(write: Write) -> None:
    path = write()
    before = path.read_text()
    load_config(path, ["training.max_steps=3"])
    assert path.read_text() == before
