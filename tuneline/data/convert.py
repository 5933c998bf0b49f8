"""One row of any common instruction format in, one conversation out.

Each format has one function that either returns the conversation or says in words why the row has none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

from tuneline.data.records import Message, Role

Row = Mapping[str, Any]
FormatName = Literal["alpaca", "sharegpt", "messages", "chat", "dolly", "prompt_completion"]
DataFormat = Literal["auto", "alpaca", "sharegpt", "messages", "chat", "dolly", "prompt_completion"]
FORMATS: tuple[FormatName, ...] = get_args(FormatName)

# The columns that give a format away; the first line that fits wins, so the more demanding one comes first.
_COLUMNS: tuple[tuple[FormatName, tuple[str, ...]], ...] = (
    ("chat", ("id", "source", "messages")),
    ("messages", ("messages",)),
    ("sharegpt", ("conversations",)),
    ("alpaca", ("instruction", "output")),
    ("dolly", ("instruction", "response")),
    ("prompt_completion", ("prompt", "completion")),
)

# Names of the speakers in files that people share. "function_call" is missing on purpose: see _speaker.
_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}


class NotConvertible(ValueError):
    """The row holds no conversation to learn from; the message says why."""


@dataclass(frozen=True)
class Converted:
    """A row as a conversation, with what else the row said about itself."""

    messages: list[Message]
    tools: list[dict[str, Any]] | None = None
    id: str | None = None
    source: str | None = None


def detect_format(columns: Iterable[str]) -> FormatName | None:
    """Name the format that has these columns, None if none of them has."""
    present = set(columns)
    return next((name for name, needed in _COLUMNS if present.issuperset(needed)), None)


def expected_columns() -> str:
    """The formats and their columns in one line, for error messages."""
    return "; ".join(f"{name}: {', '.join(columns)}" for name, columns in _COLUMNS)


def convert_row(row: object, row_format: FormatName) -> Converted:
    """Convert one row.

    Raises:
        NotConvertible: with the reason, in words.
    """
    if not isinstance(row, Mapping):
        raise NotConvertible(f"the row is {_kind(row)}, not an object with columns")
    converted = _CONVERTERS[row_format](row)
    _check_conversation(converted.messages)
    return converted


def _alpaca(row: Row) -> Converted:
    messages = _system(row)
    history = row.get("history") or []
    if not isinstance(history, list):
        raise NotConvertible(f"history is {_kind(history)}, not a list of [question, answer] pairs")
    for number, pair in enumerate(history, 1):
        if not (isinstance(pair, (list, tuple)) and len(pair) == 2 and all(isinstance(text, str) for text in pair)):
            raise NotConvertible(f"history entry {number} is not a [question, answer] pair of texts")
        messages += [Message(role="user", content=pair[0]), Message(role="assistant", content=pair[1])]
    question = _joined(_text(row, "instruction"), _text(row, "input", optional=True))
    return Converted([*messages, *_exchange(question, _text(row, "output"))])


def _dolly(row: Row) -> Converted:
    question = _joined(_text(row, "instruction"), _text(row, "context", optional=True))
    messages = [*_system(row), *_exchange(question, _text(row, "response"))]
    return Converted(messages, source=_label(row, "category"))


def _prompt_completion(row: Row) -> Converted:
    if isinstance(row.get("prompt"), list) and isinstance(row.get("completion"), list):
        return Converted(_turns([*row["prompt"], *row["completion"]]), tools=_tools(row))
    return Converted([*_system(row), *_exchange(_text(row, "prompt"), _text(row, "completion"))])


def _messages(row: Row) -> Converted:
    turns = row.get("messages")
    return Converted([*_system(row), *_turns(turns)], _tools(row), source=_label(row, "source"))


def _sharegpt(row: Row) -> Converted:
    turns = row.get("conversations")
    return Converted([*_system(row), *_turns(turns)], tools=_tools(row))


def _chat(row: Row) -> Converted:
    for column in ("id", "source"):
        if _label(row, column) is None:
            raise NotConvertible(f"{column} is {_kind(row[column]) if column in row else 'missing'}, not text")
    return replace(_messages(row), id=_label(row, "id"))


_CONVERTERS: dict[FormatName, Callable[[Row], Converted]] = {
    "alpaca": _alpaca,
    "sharegpt": _sharegpt,
    "messages": _messages,
    "chat": _chat,
    "dolly": _dolly,
    "prompt_completion": _prompt_completion,
}


def _turns(turns: object) -> list[Message]:
    """Read a list of turns, with ``role``/``content`` or ``from``/``value``."""
    turns = _decoded(turns)
    if not isinstance(turns, list):
        raise NotConvertible(f"the turns are {_kind(turns)}, not a list")
    return [_turn(turn, number) for number, turn in enumerate(turns, 1)]


def _turn(turn: object, number: int) -> Message:
    if not isinstance(turn, Mapping):
        raise NotConvertible(f"turn {number} is {_kind(turn)}, not an object")
    role = _speaker(turn.get("role", turn.get("from")), number)
    if turn.get("tool_calls") or turn.get("function_call"):
        raise NotConvertible(f"turn {number} calls a tool; only answers in text can be learnt")
    content = _content(turn["content"] if "content" in turn else turn.get("value"), number)
    # The loss of a turn that the assistant does not speak is none of our business: it is always left out.
    return Message(role=role, content=content, weight=_weight(turn, number) if role == "assistant" else 1.0)


def _speaker(name: object, number: int) -> Role:
    if name in ("function_call", "tool_call"):
        raise NotConvertible(f"turn {number} calls a tool; only answers in text can be learnt")
    if not isinstance(name, str) or name.lower() not in _ROLES:
        raise NotConvertible(f"turn {number} is spoken by {name!r}, which is none of {', '.join(_ROLES)}")
    return _ROLES[name.lower()]


def _content(content: object, number: int) -> str:
    """A turn's text: a string, or a list of typed parts that are all text."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise NotConvertible(f"the content of turn {number} is {_kind(content)}, neither text nor a list of text parts")
    texts = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
            continue
        kind = part.get("type", "text") if isinstance(part, Mapping) else _kind(part)
        if kind not in ("text", "input_text", "output_text"):
            raise NotConvertible(f"turn {number} has a part of type {kind!r}; only text can be learnt")
        text = part.get("text", part.get("value"))
        if not isinstance(text, str):
            raise NotConvertible(f"a text part of turn {number} has no text")
        texts.append(text)
    return "".join(texts)


def _weight(turn: Row, number: int) -> float:
    """The turn's share of the loss, under any of the names in use; 1 if none is given."""
    for key in ("weight", "loss_weight", "loss", "train"):
        value = turn.get(key)
        if value is None:
            continue
        if not isinstance(value, (bool, int, float)) or not 0 <= float(value) < float("inf"):
            raise NotConvertible(f"{key} of turn {number} is {value!r}, not a number of 0 or more")
        return float(value)
    return 1.0


def _tools(row: Row) -> list[dict[str, Any]] | None:
    tools = _decoded(row.get("tools"))
    if not tools:
        return None
    if not (isinstance(tools, list) and all(isinstance(tool, dict) for tool in tools)):
        raise NotConvertible(f"tools is {_kind(tools)}, not a list of JSON schemas")
    return cast(list[dict[str, Any]], tools)


def _decoded(value: object) -> object:
    """CSV cells, and ``tools`` in some files, hold lists as JSON text."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return cast(object, json.loads(value))
        except json.JSONDecodeError as error:
            raise NotConvertible(f"the list in the cell is not JSON: {error}") from None
    return value


def _system(row: Row) -> list[Message]:
    system = _text(row, "system", optional=True)
    return [Message(role="system", content=system)] if system else []


def _text(row: Row, column: str, *, optional: bool = False) -> str:
    value = row.get(column)
    if value is None and optional:
        return ""
    if not isinstance(value, str):
        raise NotConvertible(f"{column} is {_kind(value) if column in row else 'missing'}, not text")
    return value


def _label(row: Row, column: str) -> str | None:
    value = row.get(column)
    return value if isinstance(value, str) and value else None


def _joined(instruction: str, context: str) -> str:
    return f"{instruction}\n\n{context}" if context.strip() else instruction


def _exchange(question: str, answer: str) -> list[Message]:
    return [Message(role="user", content=question), Message(role="assistant", content=answer)]


def _check_conversation(messages: list[Message]) -> None:
    """Refuse what no template renders and what teaches nothing."""
    if not messages:
        raise NotConvertible("there are no turns")
    if messages[-1].role != "assistant":
        raise NotConvertible(f"the last turn is the {messages[-1].role}'s, not the assistant's")
    spoken = [message for message in messages if message.role != "system"]
    if spoken[0].role != "user":
        raise NotConvertible(f"the first turn is the {spoken[0].role}'s, not the user's")
    if any(message.role == "system" for message in messages[1:]):
        raise NotConvertible("a system message stands in the middle of the conversation")
    for number, message in enumerate(messages, 1):
        if message.role in ("user", "assistant") and not message.content.strip():
            raise NotConvertible("the answer is empty" if number == len(messages) else f"turn {number} is empty")
        try:
            message.content.encode()
        except UnicodeEncodeError:  # JSON may escape half of a surrogate pair; no file and no tokenizer takes it
            raise NotConvertible(f"turn {number} holds half a surrogate pair, which is no character") from None
    if not any(message.role == "assistant" and message.weight > 0 for message in messages):
        raise NotConvertible("every answer has loss weight 0, so there is nothing to learn")


def _kind(value: object) -> str:
    names = {type(None): "empty (null)", str: "text", bool: "true/false", int: "a number", float: "a number"}
    names |= {list: "a list", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")
