"""Every input format becomes the same conversation, and what cannot says why."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tuneline.data.convert import NotConvertible, convert_row, detect_format

_QUESTION = {"role": "user", "content": "How do I list pods?"}
_ANSWER = {"role": "assistant", "content": "kubectl get pods"}

_ROWS: dict[str, dict[str, Any]] = {
    "alpaca": {"instruction": "How do I list pods?", "input": "", "output": "kubectl get pods"},
    "sharegpt": {
        "conversations": [
            {"from": "human", "value": "How do I list pods?"},
            {"from": "gpt", "value": "kubectl get pods"},
        ]
    },
    "messages": {"messages": [_QUESTION, _ANSWER]},
    "chat": {"id": "q1", "source": "kubectl", "messages": [_QUESTION, _ANSWER]},
    "dolly": {"instruction": "How do I list pods?", "context": "", "response": "kubectl get pods", "category": "qa"},
    "prompt_completion": {"prompt": "How do I list pods?", "completion": "kubectl get pods"},
}


@pytest.mark.parametrize("name", _ROWS)
def test_every_format_is_recognised_by_its_columns_and_becomes_the_same_conversation(name: str) -> None:
    row = _ROWS[name]
    assert detect_format(row) == name
    messages = convert_row(row, name).messages
    assert [(m.role, m.content) for m in messages] == [
        ("user", "How do I list pods?"),
        ("assistant", "kubectl get pods"),
    ]


def test_columns_of_no_known_format_are_not_recognised() -> None:
    assert detect_format(["question", "answer"]) is None


def test_input_and_context_follow_the_instruction() -> None:
    alpaca = convert_row({"instruction": "Sum up.", "input": "Long text", "output": "Short"}, "alpaca")
    dolly = convert_row({"instruction": "Sum up.", "context": "Long text", "response": "Short"}, "dolly")
    assert alpaca.messages[0].content == dolly.messages[0].content == "Sum up.\n\nLong text"
    assert alpaca.source is None


def test_dolly_keeps_its_category_as_the_source() -> None:
    assert convert_row(_ROWS["dolly"], "dolly").source == "qa"


def test_alpaca_history_and_system_come_before_the_question() -> None:
    row = {**_ROWS["alpaca"], "system": "Be brief.", "history": [["Hi", "Hello"]]}
    roles = [message.role for message in convert_row(row, "alpaca").messages]
    assert roles == ["system", "user", "assistant", "user", "assistant"]


def test_a_chat_row_keeps_its_id_and_source_and_other_columns_do_not_disturb() -> None:
    converted = convert_row({**_ROWS["chat"], "license": "MIT"}, "chat")
    assert (converted.id, converted.source) == ("q1", "kubectl")


def test_content_may_be_a_list_of_text_parts_under_either_name() -> None:
    parts = [{"type": "text", "text": "kubectl "}, {"type": "text", "value": "get pods"}]
    row = {"messages": [_QUESTION, {"role": "assistant", "content": parts}]}
    assert convert_row(row, "messages").messages[-1].content == "kubectl get pods"


@pytest.mark.parametrize("key", ["weight", "loss_weight", "loss", "train"])
def test_a_turns_loss_weight_is_read_under_any_of_its_names(key: str) -> None:
    row = {"messages": [_QUESTION, {**_ANSWER, key: 0}, _QUESTION, {**_ANSWER, key: 0.5}]}
    weights = [m.weight for m in convert_row(row, "messages").messages if m.role == "assistant"]
    assert weights == [0.0, 0.5]


def test_a_users_loss_weight_says_nothing() -> None:
    row = {"messages": [{**_QUESTION, "loss_weight": 0.0}, {**_ANSWER, "loss_weight": 1.0}]}
    assert convert_row(row, "messages").messages == convert_row(_ROWS["messages"], "messages").messages


def test_tools_are_read_as_lists_and_as_json_text() -> None:
    tools = [{"type": "function", "function": {"name": "now"}}]
    for given in (tools, json.dumps(tools)):
        assert convert_row({**_ROWS["messages"], "tools": given}, "messages").tools == tools


def test_prompt_and_completion_may_be_lists_of_messages() -> None:
    row = {"prompt": [_QUESTION], "completion": [_ANSWER]}
    assert convert_row(row, "prompt_completion").messages == convert_row(_ROWS["messages"], "messages").messages


def test_roles_have_many_names() -> None:
    row = {
        "messages": [
            {"role": "developer", "content": "Be brief."},
            _QUESTION,
            {"role": "assistant", "content": "Let me look."},
            {"role": "function", "content": "12 pods"},
            _ANSWER,
        ]
    }
    assert [m.role for m in convert_row(row, "messages").messages] == [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
    ]


@pytest.mark.parametrize(
    ("row", "name", "reason"),
    [
        (["a list"], "alpaca", "the row is a list, not an object with columns"),
        ({"instruction": "x", "output": None}, "alpaca", "output is empty (null), not text"),
        ({"instruction": "x"}, "alpaca", "output is missing, not text"),
        ({"instruction": "x", "output": 3}, "alpaca", "output is a number, not text"),
        ({"instruction": "x", "output": "  "}, "alpaca", "the answer is empty"),
        ({"instruction": "", "output": "y"}, "alpaca", "turn 1 is empty"),
        ({"instruction": "x", "output": "y", "history": [["only one"]]}, "alpaca", "history entry 1"),
        ({"instruction": "half a pair \ud800", "output": "y"}, "alpaca", "turn 1 holds half a surrogate pair"),
        ({"messages": "hello"}, "messages", "the turns are text, not a list"),
        ({"messages": []}, "messages", "there are no turns"),
        ({"messages": [_ANSWER]}, "messages", "the first turn is the assistant's"),
        ({"messages": [_QUESTION]}, "messages", "the last turn is the user's"),
        ({"messages": [_QUESTION, {"role": "critic", "content": "y"}]}, "messages", "turn 2 is spoken by 'critic'"),
        (
            {"messages": [_QUESTION, {"role": "system", "content": "y"}, _ANSWER]},
            "messages",
            "a system message stands in the middle",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}, _ANSWER]},
            "messages",
            "turn 1 has a part of type 'image_url'",
        ),
        (
            {"messages": [_QUESTION, {"role": "assistant", "content": None, "tool_calls": [{}]}]},
            "messages",
            "turn 2 calls a tool",
        ),
        ({"messages": [_QUESTION, {**_ANSWER, "weight": -1}]}, "messages", "weight of turn 2 is -1"),
        ({"messages": [_QUESTION, {**_ANSWER, "weight": 0}]}, "messages", "every answer has loss weight 0"),
        ({"conversations": [{"from": "function_call", "value": "{}"}]}, "sharegpt", "turn 1 calls a tool"),
        ({"conversations": "[broken"}, "sharegpt", "the list in the cell is not JSON"),
        ({"messages": [_QUESTION, _ANSWER], "source": "x"}, "chat", "id is missing, not text"),
        ({**_ROWS["messages"], "tools": "a hammer"}, "messages", "tools is text, not a list"),
    ],
)
def test_what_cannot_be_learnt_from_says_why(row: object, name: Any, reason: str) -> None:
    with pytest.raises(NotConvertible) as caught:
        convert_row(row, name)
    assert reason in str(caught.value)
