"""What the endpoint answers, as schemas for its API page. The answers themselves pass through as the engine's bytes."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class _Answer(BaseModel):
    model_config = ConfigDict(extra="allow")


class ErrorDetail(BaseModel):
    """What went wrong, in OpenAI's form."""

    message: str
    type: Literal["authentication_error", "permission_error", "invalid_request_error", "server_error"]
    param: str | None
    code: str | None


class Error(BaseModel):
    """Any answer other than 2xx."""

    error: ErrorDetail


class Usage(_Answer):
    """Tokens of question and answer."""

    prompt_tokens: int
    total_tokens: int
    completion_tokens: int | None = None


class AssistantMessage(_Answer):
    """What the model said."""

    role: Literal["assistant"]
    content: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class ChatChoice(_Answer):
    """One of ``n`` answers."""

    index: int
    message: AssistantMessage
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class ChatCompletion(_Answer):
    """The answer to a conversation. ``model`` is the endpoint's name; ``x-tuneline-version`` says which version."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage | None = None


class ChatDelta(_Answer):
    """What a streamed event adds to a message."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChatChunkChoice(_Answer):
    """An event's part of one of ``n`` answers."""

    index: int
    delta: ChatDelta
    finish_reason: str | None = None


class ChatCompletionChunk(_Answer):
    """The data of one server-sent event; the last event's data is ``[DONE]``."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChatChunkChoice]
    usage: Usage | None = None


class CompletionChoice(_Answer):
    """One of ``n`` completions, or a streamed event's part of it."""

    index: int
    text: str
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class Completion(_Answer):
    """The completion of a text; streamed, the data of one server-sent event. The last event's data is ``[DONE]``."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage | None = None


class Model(_Answer):
    """The endpoint under its name."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: Literal["tuneline"]


class Models(_Answer):
    """All models: one, once a release is applied."""

    object: Literal["list"]
    data: list[Model]


class Readiness(_Answer):
    """Whether a question that is asked now is answered, and if not, why."""

    ready: bool


class Live(_Answer):
    """What is live: the applied release, and the number of the one that is wanted."""

    endpoint: str
    sequence: int | None
    wanted: int | None
    base: dict[str, Any] | None
    adapters: dict[str, dict[str, Any]]
    routes: dict[str, Any] | None
    error: str | None
