"""The question generator: seeded, any size, and evaluation names that training never saw."""

from __future__ import annotations

import re

import pytest

from tuneline.data.synthetic import TOOLS, generate_records, is_held_out, load_families
from tuneline.data.synthetic.generate import draw_values


def test_the_same_seed_gives_the_same_records_and_a_larger_set_begins_with_the_smaller() -> None:
    small = list(generate_records(TOOLS, 100, seed=3))
    assert small == list(generate_records(TOOLS, 100, seed=3))
    assert small == list(generate_records(TOOLS, 500, seed=3))[:100]
    assert small != list(generate_records(TOOLS, 100, seed=4))


def test_questions_are_distinct() -> None:
    questions = [record.messages[0].content for record in generate_records(("kubectl", "git"), 3000, seed=1)]
    assert len(set(questions)) == 3000


def test_families_are_balanced() -> None:
    families = load_families(("docker",))
    records = list(generate_records(("docker",), 10 * len(families), seed=1))
    counts = {family.id: sum(record.source == family.id for record in records) for family in families}
    assert set(counts.values()) == {10}


def test_no_evaluation_name_occurs_in_training() -> None:
    import random

    def names(split: str) -> set[str]:
        rng = random.Random(1)
        found: set[str] = set()
        for _ in range(40):
            for family in load_families():
                found |= {v for v in draw_values(family, rng, split).values() if re.search("[a-z]{2}", v)}  # type: ignore[arg-type]
        return found - {"bash", "sh", "zsh", "staging", "production", "archived"}

    training, evaluation = names("train"), names("eval")
    assert len(training) > 1000 and len(evaluation) > 1000
    assert not training & evaluation
    assert not any(is_held_out(name) for name in training)


def test_no_documentation_wording_is_a_question_wording() -> None:
    for family in load_families():
        assert family.doc not in family.ask


def test_an_unknown_tool_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown tool 'terraform': choose from kubectl, helm"):
        list(generate_records(("terraform",), 1, seed=1))


def test_every_command_is_filled() -> None:
    for record in generate_records(TOOLS, 300, seed=9, split="eval"):
        for text in (record.messages[0].content, record.reference):
            assert not re.search(r"\{[a-z0-9]+\}|\[[a-z ]*\|", text), text
