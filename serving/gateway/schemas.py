"""The requests that are let through: a list of fields, since the engine's own API reaches further than a client may.

vLLM takes, for example, image URLs that it fetches itself and templates that it renders. What is not listed is refused
by name.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.gateway.errors import ApiError

MAX_BODY_BYTES = 8 * 2**20

Stop = str | Annotated[list[str], Field(max_length=16)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class TextPart(_Model):
    """A piece of a message. Text is all there is: the engine would fetch anything else from where the client says."""

    type: Literal["text"]
    text: str


class Message(_Model):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None


class _Sampling(_Model):
    model: str
    stream: bool = False
    stream_options: dict[str, bool] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    min_tokens: Annotated[int, Field(ge=0)] | None = None
    temperature: Annotated[float, Field(ge=0)] | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    n: Annotated[int, Field(ge=1, le=16)] | None = None
    seed: int | None = None
    stop: Stop | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    response_format: dict[str, Any] | None = None
    skip_special_tokens: bool | None = None
    return_tokens_as_token_ids: bool | None = None
    prompt_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    user: str | None = None


class ChatRequest(_Sampling):
    """POST /v1/chat/completions."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None


class CompletionRequest(_Sampling):
    """POST /v1/completions. Prompts are passed on unchanged: text, token ids, or a list of either."""

    prompt: str | list[str] | list[int] | list[list[int]]
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    echo: bool | None = None
    suffix: str | None = None
    add_special_tokens: bool | None = None


Request = TypeVar("Request", bound=BaseModel)


def parse(schema: type[Request], body: bytes) -> Request:
    """Read a request body.

    Raises:
        ApiError: 400, naming the field.
    """
    try:
        return schema.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "json_invalid":
            raise ApiError(400, f"The body is not JSON: {first['msg']}", code="invalid_json") from None
        if first["type"] == "extra_forbidden":
            raise ApiError(400, f"Unknown field: {where}", code="unknown_field", param=where) from None
        given = json.dumps(first.get("input"), default=str)[:100]
        raise ApiError(400, f"{where}: {first['msg']} (given: {given})", code="invalid_value", param=where) from None
