"""What a person reads who wrote a key, a type or a value that is not right."""

from __future__ import annotations

import pytest

from tests.config.conftest import Fail, Load
from tuneline.config import load_config
from tuneline.errors import UserError


def test_a_misspelled_key_is_told_with_file_line_column_and_the_nearest_valid_key(fail: Fail) -> None:
    error = fail("  max_steps: 10", "  max_steps: 10\n  learnig_rate: 0.1")
    (problem,) = error.problems
    assert (problem.place.origin, problem.place.line, problem.place.column) == ("my.yaml", 12, 3)
    assert problem.path == ("training", "learnig_rate")
    assert problem.nearest == "learning_rate"
    assert "my.yaml:12:3: training.learnig_rate: unknown key (given 0.1). Did you mean learning_rate?" in str(error)
    assert "weight_decay" in problem.allowed


def test_a_refused_config_is_the_users_mistake(fail: Fail) -> None:
    error = fail("max_steps: 10", "max_steps: ten")
    assert isinstance(error, UserError)
    assert error.exit_code == 2


def test_a_wrong_value_is_told_once_and_not_also_as_missing(fail: Fail) -> None:
    (problem,) = fail("max_steps: 10", "max_steps: ten").problems
    assert problem.what == 'is "ten"'


def test_a_misspelled_section_is_told_with_the_nearest_one(fail: Fail) -> None:
    (problem,) = fail("name: assistant", "name: assistant\nevalution: {}").problems
    assert (problem.place.line, problem.nearest) == (2, "evaluation")


def test_a_key_in_the_wrong_section_is_told_where_it_belongs(fail: Fail) -> None:
    problems = fail("  max_steps: 10", "  max_steps: 10\n  max_lora_rank: 8\nlearning_rate: 1").problems
    assert [problem.nearest for problem in problems] == ["serving.max_lora_rank", "training.learning_rate"]


@pytest.mark.parametrize(("other", "ours"), [("rank", "r"), ("lr", "learning_rate"), ("num_train_epochs", "epochs")])
def test_other_tools_names_lead_to_ours(fail: Fail, other: str, ours: str) -> None:
    (problem,) = fail("  max_steps: 10", f"  max_steps: 10\n  {other}: 8").problems
    assert problem.nearest == ours


@pytest.mark.parametrize(
    ("line", "given", "allowed"),
    [
        ("r: sixteen", '"sixteen"', "a whole number above 0"),
        ("r: '16'", '"16"', "a whole number above 0"),
        ("r: true", "true", "a whole number above 0"),
        ("r: 1.5", "1.5", "a whole number above 0"),
        ("r: 0", "0", "a whole number above 0"),
        ("r:", "empty", "a whole number above 0"),
        ("learning_rate: fast", '"fast"', "a number at least 0"),
        ("learning_rate: -1", "-1", "a number at least 0"),
        ("learning_rate: .inf", "Infinity", "a number at least 0"),
        ("lora_dropout: 1", "1", "a number at least 0 and below 1"),
        ("use_rslora: yes", '"yes"', "true or false"),
        ("scheduler: cosin", '"cosin"', "linear | cosine | constant | constant_with_warmup"),
        ("target_modules: 3", "3", "all-linear, or a list of: text"),
        ("target_modules: [q_proj, 3]", "3", "text"),
        ("modules_to_save: head", '"head"', "a list of: text"),
    ],
)
def test_a_wrong_value_is_told_with_what_was_given_and_what_is_allowed(
    fail: Fail, line: str, given: str, allowed: str
) -> None:
    (problem,) = fail("  max_steps: 10", f"  max_steps: 10\n  {line}").problems
    assert problem.what == f"is {given}"
    assert problem.allowed == allowed
    assert problem.place.line == 12


def test_a_misspelled_choice_is_told_with_the_nearest_one(fail: Fail) -> None:
    (problem,) = fail("base: some/model", "base: some/model\n  dtype: bf16").problems
    assert problem.nearest == "bfloat16"


def test_a_section_that_is_no_section_is_told(fail: Fail) -> None:
    (problem,) = fail("training:\n  max_steps: 10", "training: fast").problems
    assert problem.what == 'is "fast"'
    assert problem.allowed.startswith("a section with keys method, export, r,")


def test_missing_sections_and_keys_are_told_with_what_they_are(fail: Fail) -> None:
    problems = fail(text="name: assistant\nmodel:\n  dtype: float32\ntraining: {max_steps: 1}\n").problems
    assert [(problem.path, problem.place.line) for problem in problems] == [(("data",), 1), (("model", "base"), 2)]
    assert problems[0].what == "is missing: What is trained on and what is asked"
    assert problems[1].what.startswith("is missing: A hub id")


def test_a_source_without_or_with_an_unknown_type_is_told_which_there_are(fail: Fail) -> None:
    problems = fail("    - {type: synthetic", "    - {path: x}\n    - {type: fil}\n    - {type: synthetic").problems
    assert [(problem.path, problem.allowed) for problem in problems] == [
        (("data", "sources", 0, "type"), "synthetic | file | hub | feedback"),
        (("data", "sources", 1, "type"), "synthetic | file | hub | feedback"),
    ]
    assert problems[1].nearest == "file"


def test_an_unknown_tool_is_told_with_the_known_ones_at_its_place_in_the_list(fail: Fail) -> None:
    (problem,) = fail("tools: [kubectl], size: 100", "tools: [kubectl, dockr], size: 100").problems
    assert problem.path == ("data", "sources", 0, "tools", 1)
    assert problem.nearest == "docker"


def test_an_unknown_column_is_told_with_those_that_can_be_mapped(fail: Fail) -> None:
    source = "{type: hub, dataset: a/b, columns: {inputt: context}}"
    (problem,) = fail("    - {type: synthetic", f"    - {source}\n    - {{type: synthetic").problems
    assert problem.path[-1] == "inputt"
    assert problem.nearest == "input"


def test_an_empty_list_is_told_as_such(fail: Fail) -> None:
    (problem,) = fail("training:", "evaluation: {metrics: []}\ntraining:").problems
    assert problem.path == ("evaluation", "metrics")
    assert problem.allowed.startswith("a list with at least one of: exact_match | f1 | chrf")
    assert problem.allowed.endswith("path/to/metric.py")


def test_every_problem_is_told_at_once_in_the_files_order(fail: Fail) -> None:
    error = fail(
        text="""\
name: Assistant!
model: {base: ./nowhere, dtype: bf16}
data:
  sources:
    - {type: synthetic, tols: [kubectl], size: 100}
  evaluation: {}
training:
  use_dora: true
  max_stpes: 1
serving: {dtype: int4}
""",
        overrides=["gate.confidence=sure"],
    )
    assert [(problem.path, problem.place.line) for problem in error.problems] == [
        (("name",), 1),
        (("model", "base"), 2),
        (("model", "dtype"), 2),
        (("data", "sources", 0, "tools"), 5),
        (("data", "sources", 0, "tols"), 5),
        (("training", "use_dora"), 8),
        (("training", "max_stpes"), 9),
        (("serving", "dtype"), 10),
        (("gate", "confidence"), None),
    ]
    assert "my.yaml has 9 problems:" in str(error)


def test_a_mistake_in_a_prompt_file_names_that_file(fail: Fail, write) -> None:
    write(text="name: mine\nsystm: Be brief.\n", name="prompt.yaml")
    (problem,) = fail("name: assistant", "name: assistant\nprompt: prompt.yaml").problems
    assert str(problem.place) == "prompt.yaml:2:1"
    assert problem.path == ("prompt", "systm")
    assert problem.nearest == "system"


def test_the_library_cannot_be_talked_into_an_impossible_config(load: Load) -> None:
    right = load()
    broken = right.model_dump(mode="json") | {"gate": {"metric": "rouge_l"}, "evaluation": {"metrics": ["chrf"]}}
    with pytest.raises(ValueError, match=r"gate\.metric is rouge_l"):
        type(right).model_validate(broken)


def test_a_config_is_found_in_the_repository_from_any_directory(write) -> None:
    write()
    assert load_config("configs/qwen3-0.6b-lora-8gb.yaml").name == "qwen3-dolly"
