"""What a search may try, told when the config is read and at the place of the value."""

from __future__ import annotations

import pytest

from tests.config.conftest import Fail, Load
from tuneline.config import Config, load_config
from tuneline.config.candidate import is_whole, with_values

RANGE = "{low: 1e-4, high: 1e-2, log: true}"


def searched(parameters: str, *more: str) -> list[str]:
    return [f"search={{trials: 4, validation: {{share: 0.1}}, parameters: {{{parameters}}}}}", *more]


@pytest.mark.parametrize(
    ("parameters", "below", "said"),
    [
        ("training.learnin_rate: {low: 1, high: 2}", ("training.learnin_rate",), "no key training.learnin_rate"),
        ("trainin.r: {choices: [4, 8]}", ("trainin.r",), "no section 'trainin'"),
        ("training: {choices: [4, 8]}", ("training",), "is a whole section"),
        ("serving.dtype: {choices: [auto, half]}", ("serving.dtype",), "does not change the loss"),
        ("gate.confidence: {low: 0.8, high: 0.9}", ("gate.confidence",), "does not change the loss"),
        ("training.micro_batch_tokens: {choices: [4096, 8192]}", ("training.micro_batch_tokens",), "does not change"),
        ("data.sources.0.size: {low: 50, high: 100}", ("data.sources.0.size",), "different records"),
        ("training.validation.share: {low: 0.1, high: 0.2}", ("training.validation.share",), "different records"),
        ("model.base: {choices: [a/b, c/d]}", ("model.base",), "another tokenizer"),
        ("training.seed: {low: 0, high: 9}", ("training.seed",), "luckiest"),
        ("training.r: {choices: [8, 64]}", ("training.r", "choices", 1), "the engine takes ranks up to 16"),
        ("training.r: {choices: [8, eight]}", ("training.r", "choices", 1), 'is "eight"'),
        ("training.r: {choices: [8]}", ("training.r", "choices"), "nothing to choose"),
        ("training.r: {choices: [8, 4, 8]}", ("training.r", "choices", 2), "there already"),
        ("training.r: {choices: [8, 4], low: 1}", ("training.r", "low"), "beside choices"),
        ("training.r: {low: 4}", ("training.r",), "has no high"),
        ("training.r: {low: 16, high: 4}", ("training.r", "low"), "not below high (4)"),
        ("training.lora_dropout: {low: 0, high: 1}", ("training.lora_dropout", "high"), "is 1"),
        ("training.weight_decay: {low: 0, high: 1, log: true}", ("training.weight_decay", "low"), "no logarithm"),
        ("training.epochs: {low: 1, high: 2}", ("training.epochs", "low"), "is given twice"),
        ("model.quantization: {choices: [none, nf8]}", ("model.quantization", "choices", 1), 'is "nf8"'),
        ("prompt: {choices: [a.yaml, b.yaml]}", ("prompt", "choices", 0), "is 'a.yaml', which is not in"),
        ("prompt.systm: {choices: [a, b]}", ("prompt.systm",), "no key prompt.systm"),
        ("prompt.few_shot.0: {choices: [a, b]}", ("prompt.few_shot.0", "choices", 0), "item that the list"),
    ],
)
def test_what_cannot_be_tried_is_refused_at_its_place(
    fail: Fail, parameters: str, below: tuple[str | int, ...], said: str
) -> None:
    told = {problem.path: problem.what for problem in fail(overrides=searched(parameters)).problems}
    assert said in told["search", "parameters", *below]


def test_a_refused_choice_is_told_with_its_line(fail: Fail) -> None:
    section = (
        "search:\n  trials: 2\n  validation: {share: 0.1}\n  parameters:\n    training.r: {choices: [8,\n      64]}"
    )
    (problem,) = fail("training:", f"{section}\ntraining:").problems
    assert (problem.place.line, problem.place.column) == (15, 7)
    assert problem.allowed == "a rank of at most 16, or serving.max_lora_rank: 64"


def test_values_that_are_right_alone_and_wrong_together_are_told_with_each_other(fail: Fail) -> None:
    parameters = "training.r: {choices: [8, 16]}, training.batch_tokens: {choices: [4096, 6000]}"
    (problem,) = fail(overrides=searched(parameters)).problems
    assert problem.path[2:] == ("training.batch_tokens", "choices", 1)
    lengths = "training.max_steps: {choices: [10, null]}, training.epochs: {choices: [null, 2]}"
    together = {problem.path[2:]: problem.what for problem in fail(overrides=searched(lengths)).problems}
    assert any("is given twice" in what or "is missing" in what for what in together.values())


def test_a_search_needs_one_measure_and_something_to_try(fail: Fail) -> None:
    (missing,) = fail(overrides=[f"search={{trials: 2, parameters: {{training.learning_rate: {RANGE}}}}}"]).problems
    assert missing.path == ("search", "validation")
    twice = fail(overrides=[*searched(f"training.learning_rate: {RANGE}"), "training.validation={share: 0.1}"])
    assert "beside training.validation" in twice.problems[0].what
    assert fail(overrides=["search={trials: 2, validation: {share: 0.1}, parameters: {}}"])
    (many,) = fail(overrides=[*searched("training.r: {choices: [4, 8, 16]}")]).problems
    assert many.path == ("search", "trials") and "3 combinations" in many.what


@pytest.fixture
def right(load: Load) -> Config:
    return load(overrides=searched(f"training.learning_rate: {RANGE}, training.r: {{choices: [8, 16]}}"))


def test_a_candidate_is_the_config_that_set_would_have_made(right: Config, load: Load) -> None:
    made = with_values(right, {"training.learning_rate": 0.00123, "training.r": 8})
    options = ["training.learning_rate=1.23e-3", "training.r=8", "training.validation={share: 0.1}"]
    assert made == load(overrides=options)
    assert made.search is None


def test_a_search_changes_nothing_of_what_the_config_trains(right: Config, load: Load) -> None:
    assert right.fingerprint() == load().fingerprint()


def test_an_impossible_candidate_cannot_be_made(right: Config) -> None:
    with pytest.raises(ValueError, match="ranks up to 16"):
        with_values(right, {"training.r": 32})


def test_searched_templates_are_read_with_the_config_and_written_with_it(load: Load, tmp_path) -> None:
    paths = "prompt: {choices: [configs/prompts/plain.yaml, configs/prompts/assistant.yaml]}"
    config = load(overrides=searched(paths, "search.trials=2"))
    assert config.search is not None
    names = [choice["name"] for choice in config.search.parameters["prompt"].choices]
    assert names == ["plain", "assistant"]
    assert with_values(config, {"prompt": config.search.parameters["prompt"].choices[1]}).prompt.name == "assistant"
    (tmp_path / "again.yaml").write_text(config.to_yaml())
    assert load_config(tmp_path / "again.yaml") == config


def test_whole_numbers_are_tried_where_the_key_takes_no_others(right: Config) -> None:
    assert is_whole(right, "training.r") and is_whole(right, "training.max_steps")
    assert not is_whole(right, "training.weight_decay") and not is_whole(right, "training.epochs")
