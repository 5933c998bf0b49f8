"""Slices find where a candidate got worse, whatever the metric's direction and the question's language."""

from __future__ import annotations

import math

import pytest

from tests.evaluation.pages import item_of, suite_of
from tuneline.data.records import Message
from tuneline.evaluation.report import Preferences, SuiteReport
from tuneline.evaluation.slices import Slice, intent, slices


def of_kind(suite: SuiteReport, kind: str) -> list[Slice]:
    return [part for part in slices(suite, suite.primary) if part.kind == kind]


def test_sources_begin_with_the_one_that_lost_most_against_the_champion() -> None:
    items = [item_of(place, source=source) for place, source in enumerate(["git", "git", "helm", "dvc"])]
    scores = {"base": [0, 0, 0, 1], "champion": [0, 1, 1, 0], "candidate": [1, 1, 0, 0]}
    first, *rest = of_kind(suite_of(scores, items=items), "source")  # type: ignore[arg-type]
    assert first == Slice("source", "helm", 1, {"base": 0, "champion": 1, "candidate": 0}, -1)
    assert [(part.name, part.items, part.difference) for part in rest] == [("dvc", 1, 0), ("git", 2, 0.5)]


def test_without_a_champion_the_base_model_is_the_measure() -> None:
    (part,) = of_kind(suite_of({"base": [0.0, 0.5], "candidate": [1.0, 1.0]}), "source")
    assert part.difference == 0.75


def test_where_lower_is_better_a_lower_score_is_a_gain() -> None:
    suite = suite_of({"champion": [2.0, 1.0], "candidate": [1.5, 1.0]}, metric="perplexity")
    (part,) = of_kind(suite, "source")
    assert (part.means["candidate"], part.difference) == (1.25, 0.25)


def test_a_relative_metric_is_compared_as_a_share_of_the_opponents_mean() -> None:
    suite = suite_of({"champion": [40.0, 60.0], "candidate": [50.0, 60.0]}, metric="length")
    (part,) = of_kind(suite, "source")
    assert part.difference == pytest.approx(-0.1)
    nothing = suite_of({"champion": [0.0], "candidate": [5.0]}, metric="length")
    assert of_kind(nothing, "source")[0].difference is None


def test_lengths_are_terciles_of_the_prompts_tokens_with_their_bounds() -> None:
    values = [float(number) for number in range(9)]
    suite = suite_of({"champion": [0.0] * 9, "candidate": values}, tokens=[90, 10, 20, 30, 40, 50, 60, 70, 80])
    found = [(part.name, part.items) for part in of_kind(suite, "length")]
    assert found == [
        ("short (10 to 30 tokens)", 3),
        ("middle (40 to 60 tokens)", 3),
        ("long (70 to 90 tokens)", 3),
    ]
    assert of_kind(suite, "length")[0].difference == 2.0


def test_questions_of_the_same_length_are_never_torn_apart() -> None:
    suite = suite_of({"candidate": [1.0] * 6}, tokens=[5, 5, 5, 5, 5, 9])
    assert [(part.name, part.items) for part in of_kind(suite, "length")] == [
        ("short (5 tokens)", 5),
        ("long (9 tokens)", 1),
    ]


def test_characters_stand_in_where_tokens_were_not_counted() -> None:
    items = [item_of(place, "x" * length) for place, length in enumerate((3, 30, 1200))]
    suite = suite_of({"candidate": [1.0] * 3}, items=items, tokens=[0, 0, 0])
    assert [part.name for part in of_kind(suite, "length")] == [
        "short (3 characters)",
        "middle (30 characters)",
        "long (1,200 characters)",
    ]


@pytest.mark.parametrize(
    ("question", "word"),
    [
        ("List the pods", "list"),
        ("  'Explain,' she said", "explain"),
        ("1. restart it", "restart"),
        ("ÜBERSETZE das", "übersetze"),
        ("हिन्दी में", "हिन्दी"),
        ("What's up", "whats"),
        ("42 ?", "other"),
        ("", "other"),
    ],
)
def test_the_intent_is_the_first_word_in_letters_alone(question: str, word: str) -> None:
    item = item_of(0).model_copy(update={"messages": (Message(role="user", content=question),)})
    assert intent(item) == word


def test_the_intent_is_that_of_the_last_thing_a_user_said() -> None:
    turns = [("system", "Be brief"), ("user", "List it"), ("assistant", "done"), ("user", "Delete it"), ("tool", "ok")]
    messages = tuple(Message(role=role, content=content) for role, content in turns)  # type: ignore[arg-type]
    assert intent(item_of(0).model_copy(update={"messages": messages})) == "delete"


def test_the_twelve_most_frequent_intents_have_a_row_and_the_rest_is_the_last() -> None:
    words = [chr(97 + place // 2) * 3 for place in range(28)] + ["aaa", "once"]  # 14 words twice, aaa three times
    items = [item_of(place, f"{word} it") for place, word in enumerate(words)]
    found = of_kind(suite_of({"base": [0.0] * 30, "candidate": [1.0] * 30}, items=items), "intent")
    assert len(found) == 13
    assert (found[0].name, found[0].items) == ("aaa", 3)
    assert (found[-1].name, found[-1].items) == ("other", 5)


def test_scores_that_are_missing_or_no_number_are_left_out_and_break_nothing() -> None:
    suite = suite_of({"champion": [1.0, 0.0], "candidate": [math.nan, 0.5]})
    (part,) = of_kind(suite, "source")
    assert (part.items, part.means["candidate"], part.difference) == (2, 0.5, 0.5)
    (unknown,) = [part for part in slices(suite, "chrf") if part.kind == "source"]
    assert (unknown.means, unknown.difference) == ({}, None)


def test_a_judges_preferences_are_shares_won() -> None:
    judged = Preferences(opponent="champion", values=(1.0, 0.5, -1.0, math.nan), agreement=0.9)
    scores = {"champion": [0.0] * 4, "candidate": [0.0] * 4}
    suite = suite_of(scores, primary="preference", metrics=("preference",), preferences=(judged,))  # type: ignore[arg-type]
    (part,) = of_kind(suite, "source")
    assert part.means == {"champion": pytest.approx(1 / 3), "candidate": pytest.approx(2 / 3)}
    assert part.difference == pytest.approx(0.5 / 3)


def test_a_suite_without_items_has_no_slices() -> None:
    assert slices(suite_of({"candidate": []}, items=[]), "exact_match") == []
