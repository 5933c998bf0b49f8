"""What an answer passes, and which checks are refused before anybody answers."""

from __future__ import annotations

from typing import Any

import pytest

from tuneline.evaluation.suites.checks import check_score, last_number, passes, read_check, read_checks

PERSON = {
    "type": "object",
    "properties": {"age": {"$ref": "#/$defs/age"}},
    "required": ["age"],
    "$defs": {"age": {"type": "integer", "minimum": 0}},
}


@pytest.mark.parametrize(
    ("kind", "value", "right", "wrong"),
    [
        ("contains", "--all", "git log --all", "git log"),
        ("not_contains", "sudo", "rm x", "sudo rm x"),
        ("exact", "git log", " git log\n", "git log --all"),
        ("regex", r"^git \w+$", "git log", "git log -n"),
        ("number", 42, "6 times 7 is 42.", "42 is not 43"),
        ("json_schema", PERSON, '{"age": 3}', '{"age": -3}'),
        ("json_schema", PERSON, '```json\n{"age": 3}\n```', "age 3"),
        ("json_schema", {}, "1", "NaN"),
        ("parses", "python", "```python\nfor x in y:\n    print(x)\n```", "for x in"),
        ("parses", "python", "x = 1", "# nothing but a comment"),
        ("parses", "python", "x = 1", "\0"),
        ("parses", "json", "[1]", "[1,]"),
        ("parses", "json", "[1]", "[" * 100_000),
        ("parses", "yaml", "kind: Pod\n---\nkind: Service", "a: b: c"),
        ("parses", "yaml", "- a", "Here is your manifest."),
        ("parses", "yaml", "when: 2024-01-01", "when: 2024-99-99"),
        ("parses", "yaml", "a: 1", ""),
    ],
)
def test_a_check_passes_the_right_answer_and_no_wrong_one(kind: str, value: Any, right: str, wrong: str) -> None:
    check = read_check(kind, value)
    assert passes(check, right)
    assert not passes(check, wrong)


@pytest.mark.parametrize(("kind", "value"), [("contains", "GIT"), ("regex", "^GIT"), ("exact", "GIT LOG")])
def test_case_counts_unless_it_is_told_not_to(kind: str, value: str) -> None:
    assert not passes(read_check(kind, value), "git log")
    assert passes(read_check(kind, value, ignore_case=True), "git log")
    assert not passes(read_check("not_contains", "GIT", ignore_case=True), "git log")


@pytest.mark.parametrize(
    ("answer", "numbers"),
    [
        ("1,234.5", (1234.5,)),
        ("It is -3.", (-3.0,)),
        ("It is \u22123", (-3.0,)),
        ("between 10-20", (20.0,)),
        ("1.5e-3 s", (0.0015,)),
        ("1, 2, 3", (3.0,)),
        ("1,2,3", (3.0,)),
        ("12,34", (34.0,)),
        ("45%", (45.0, 0.45)),
        ("45 %", (45.0, 0.45)),
        (".5", (0.5,)),
        ("42 as in v2", (42.0,)),
        ("\\boxed{1,000,000}", (1000000.0,)),
        ("192.168", (192.168,)),
        ("none", ()),
        ("", ()),
    ],
)
def test_the_last_number_of_an_answer_is_read(answer: str, numbers: tuple[float, ...]) -> None:
    assert last_number(answer) == numbers


def test_a_number_may_be_off_by_its_tolerance_and_no_more() -> None:
    check = read_check("number", 0.2, tolerance=0.1)
    assert passes(check, "0.3")
    assert not passes(check, "0.31")
    assert not passes(check, "1e999")


def test_a_percentage_fulfils_its_hundredth_too() -> None:
    assert passes(read_check("number", 0.45), "about 45%")
    assert passes(read_check("number", 45), "about 45%")


def test_an_answer_scores_1_only_if_it_passes_all_checks() -> None:
    checks = read_checks({"contains": ["git", "log"], "not_contains": "sudo"})
    assert check_score(checks, "git log") == 1.0
    assert check_score(checks, "git status") == 0.0
    with pytest.raises(ValueError, match="without checks"):
        check_score((), "git log")


def test_checks_can_be_listed_or_stand_in_the_row() -> None:
    row = {"checks": [{"kind": "exact", "value": "4"}, {"regex": "4", "ignore_case": True}], "number": 4}
    assert [(check.kind, check.ignore_case) for check in read_checks({**row, "tolerance": 0.5})] == [
        ("exact", False),
        ("regex", True),
        ("number", False),
    ]
    assert read_checks({"number": 4, "tolerance": 0.5})[0].tolerance == 0.5
    assert read_checks({"prompt": "no check at all"}) == ()


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"regex": "(a"}, "is no regular expression: missing )"),
        ({"contains": ""}, 'contains is "", not a text'),
        ({"contains": 3}, "contains is 3, not a text"),
        ({"number": "many"}, 'number is "many", not a number'),
        ({"number": True}, "number is true, not a number"),
        ({"number": float("nan")}, "not a number"),
        ({"number": 1, "tolerance": -1}, "tolerance: Input should be greater than or equal to 0"),
        ({"tolerance": 1}, "tolerance stands there without a check"),
        ({"json_schema": {"type": "objekt"}}, "json_schema.type is no JSON schema: 'objekt'"),
        ({"json_schema": "object"}, "not an object"),
        ({"json_schema": {"$ref": "https://host/schema.json"}}, "refers to 'https://host/schema.json'"),
        ({"json_schema": {"items": [{"$ref": "#/$defs/x"}]}}, "json_schema"),
        ({"json_schema": {"items": {"$ref": "#/$defs/x"}}}, "refers to '/$defs/x', which is not in it"),
        ({"parses": "rust"}, "not one of python, json, yaml"),
        ({"checks": "contains git"}, "no list of objects"),
        ({"checks": [{"contains": "a"}, {"contans": "b"}]}, "check 2: 'contans' is no kind of check; did you mean con"),
        ({"checks": [{"kind": "equals", "value": "a"}]}, "check 1: 'equals' is no kind of check"),
        ({"checks": [{"kind": "exact", "value": "a", "strict": 1}]}, "check 1: strict: Extra inputs"),
        ({"checks": [{}]}, "check 1: has none of contains"),
    ],
)
def test_a_check_that_is_none_is_refused_with_the_reason(row: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is looked at
        read_checks(row)
    assert said in str(caught.value)
