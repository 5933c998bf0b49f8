"""The requests that are let through: a list of fields, since the engine's own API reaches further than a client may.

vLLM takes, for example, image URLs that it fetches itself and templates that it renders. What is not listed is refused
by name. So is every value that JSON can carry and the engine cannot: its refusals come late, and some as a 500.
"""

from __future__ import annotations

import json
import math
import re
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from serving.gateway.errors import ApiError

_INT64 = 2**63
_MAX_TOKEN_ID = 2**31 - 1
_MAX_COUNT = 10**7  # tokens; ten times the longest context there is, and far from any integer's end
# Pydantic's names of the alternatives of a union, which stand among the fields' in an error's place.
_ALTERNATIVE = re.compile(r"\[|^str$|^constrained-str$")
_MAX_DEPTH = 32  # vLLM refuses schemas that nest deeper than some dozens of levels
_MAX_PROMPTS = 128
_MAX_ERRORS = 1000  # to put 400,000 unknown fields into words kept everyone waiting for 1.75 s
_GREEDY = 1e-5  # below it vLLM takes the likeliest token


def _text(value: str) -> str:
    if "\0" in value:
        raise ValueError("the character U+0000 is not allowed")
    return value


def _json(value: dict[str, Any]) -> dict[str, Any]:
    """Anything that JSON can say again."""
    pending: list[tuple[Any, int]] = [(value, 1)]
    while pending:
        found, depth = pending.pop()
        if depth > _MAX_DEPTH:
            raise ValueError(f"it is nested deeper than {_MAX_DEPTH} levels")
        if isinstance(found, dict):
            pending += [(part, depth + 1) for pair in found.items() for part in pair]
        elif isinstance(found, list):
            pending += [(part, depth + 1) for part in found]
        elif isinstance(found, str):
            _text(found)
        elif isinstance(found, float) and not math.isfinite(found):
            raise ValueError("NaN and Infinity are not JSON")
        elif isinstance(found, int) and not -_INT64 <= found < _INT64:
            raise ValueError("an integer does not fit into 64 bits")
    return value


Text = Annotated[str, AfterValidator(_text)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
JsonObject = Annotated[dict[str, Any], AfterValidator(_json)]
TokenId = Annotated[int, Field(ge=0, le=_MAX_TOKEN_ID)]
# One error is enough: of a million wrong ids each would be a dict of its own.
TokenIds = Annotated[list[TokenId], Field(min_length=1, fail_fast=True)]
Count = Annotated[int, Field(ge=1, le=_MAX_COUNT)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
StopText = Annotated[Text, Field(min_length=1)]
# Taken and not passed on: clients send it by themselves, and it changes no answer.
Dropped = Field(default=None, exclude=True)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, serialize_by_alias=True)


class TextPart(_Model):
    """A piece of a message. Text is all there is: the engine would fetch anything else from where the client says."""

    type: Literal["text"]
    text: Text


class CalledFunction(_Model):
    """A call as the model wrote it: ``arguments`` is JSON in a string, if it got it right."""

    name: Text
    arguments: Text


class ToolCall(_Model):
    """A call of an earlier answer, sent back with the conversation."""

    id: Text
    type: Literal["function"] = "function"
    function: CalledFunction
    index: int | None = Dropped


class Message(_Model):
    """One turn of a conversation. An answer can be sent back as it came, with the fields that have nothing in them."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text | Annotated[list[TextPart], Field(fail_fast=True)] | None = None
    name: Text | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: Text | None = None
    refusal: Text | None = Dropped
    annotations: list[JsonObject] | None = Dropped
    reasoning: Text | None = Dropped
    reasoning_content: Text | None = Dropped
    audio: None = Dropped
    function_call: None = Dropped

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.content is None and not (self.role == "assistant" and self.tool_calls):
            raise ValueError(f"a message of role {self.role!r} needs content")
        return self


class Function(_Model):
    """A function that the model may call; ``parameters`` is a JSON schema."""

    name: Name
    description: Text | None = None
    parameters: JsonObject | None = None
    strict: bool | None = None


class Tool(_Model):
    """A tool; functions are all there is."""

    type: Literal["function"]
    function: Function


class NamedFunction(_Model):
    """The name of a function among the request's tools."""

    name: Name


class NamedTool(_Model):
    """A tool that has to be called."""

    type: Literal["function"]
    function: NamedFunction


class JsonSchema(_Model):
    """What an answer has to look like."""

    name: Name
    description: Text | None = None
    schema_: Annotated[JsonObject, Field(alias="schema")]
    strict: bool | None = None


class PlainFormat(_Model):
    """Text, or any JSON object."""

    type: Literal["text", "json_object"]


class SchemaFormat(_Model):
    """JSON that fits a schema."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


class _Sampling(_Model):
    model: Text
    stream: bool = False
    stream_options: dict[Literal["include_usage", "include_obfuscation", "continuous_usage_stats"], bool] | None = None
    max_tokens: Count | None = None
    min_tokens: Annotated[int, Field(ge=0, le=_MAX_COUNT)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1, le=_MAX_TOKEN_ID)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    n: Annotated[int, Field(ge=1)] | None = None
    seed: Annotated[int, Field(ge=-_INT64, lt=_INT64)] | None = None
    stop: StopText | Annotated[list[StopText], Field(fail_fast=True)] | None = None
    stop_token_ids: Annotated[list[TokenId], Field(max_length=128)] | None = None
    ignore_eos: bool | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] | None = None
    logit_bias: (
        Annotated[
            dict[Annotated[str, Field(pattern=r"^[0-9]{1,9}$")], Annotated[float, Field(ge=-100, le=100)]],
            Field(max_length=1024),
        ]
        | None
    ) = None
    response_format: Annotated[PlainFormat | SchemaFormat, Field(discriminator="type")] | None = None
    skip_special_tokens: bool | None = None
    return_tokens_as_token_ids: bool | None = None
    prompt_logprobs: Annotated[int, Field(ge=0)] | None = None
    user: Annotated[Text, Field(max_length=256)] | None = None
    metadata: JsonObject | None = Dropped
    store: Literal[False] | None = Dropped  # true asks for something that is not done here
    service_tier: Literal["auto", "default"] | None = Dropped
    prompt_cache_key: str | None = Dropped
    safety_identifier: str | None = Dropped

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.stream_options and not self.stream:
            raise ValueError("stream_options goes with stream: true alone")
        longest = getattr(self, "max_completion_tokens", None) or self.max_tokens
        if self.min_tokens is not None and longest is not None and self.min_tokens > longest:
            raise ValueError(f"min_tokens is {self.min_tokens}, above the limit of {longest} for the answer")
        if self.temperature is not None and self.temperature < _GREEDY and (self.n or 1) > 1:
            raise ValueError(f"n is {self.n}, but at temperature {self.temperature:g} all answers would be the same")
        return self


class ChatRequest(_Sampling):
    """POST /v1/chat/completions."""

    messages: Annotated[list[Message], Field(min_length=1, fail_fast=True)]
    max_completion_tokens: Count | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0)] | None = None
    tools: Annotated[list[Tool], Field(max_length=128, fail_fast=True)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None

    @model_validator(mode="after")
    def _tools_are_there(self) -> Self:
        names = {tool.function.name for tool in self.tools or ()}
        if isinstance(self.tool_choice, NamedTool) and self.tool_choice.function.name not in names:
            raise ValueError(f"tool_choice names {self.tool_choice.function.name!r}; tools are {sorted(names)}")
        if self.tool_choice in ("auto", "required") and not names:
            raise ValueError(f"tool_choice is {self.tool_choice!r}, but there are no tools")
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs goes with logprobs: true alone")
        return self


class CompletionRequest(_Sampling):
    """POST /v1/completions. Prompts are passed on unchanged: text, token ids, or a list of either."""

    prompt: (
        Text
        | TokenIds
        | Annotated[list[Text], Field(min_length=1, max_length=_MAX_PROMPTS, fail_fast=True)]
        | Annotated[list[TokenIds], Field(min_length=1, max_length=_MAX_PROMPTS, fail_fast=True)]
    )
    logprobs: Annotated[int, Field(ge=0)] | None = None
    echo: bool | None = None
    suffix: Text | None = None
    add_special_tokens: bool | None = None


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except RecursionError:
        return True
    except ValueError:
        return False
    return True


Request = TypeVar("Request", bound=BaseModel)


def parse(schema: type[Request], body: bytes) -> Request:
    """Read a request body.

    Raises:
        ApiError: 400, it is not JSON; 422, naming the field.
    """
    try:
        return schema.model_validate_json(body)
    except ValidationError as error:
        if (count := error.error_count()) > _MAX_ERRORS:
            raise ApiError(422, f"The body has {count} errors.", code="invalid_value") from None
        # Of a field that may be one thing or another the error that reaches furthest is about what was meant.
        first = max(error.errors(include_url=False, include_context=False), key=lambda found: len(found["loc"]))
    where = ".".join(str(part) for part in first["loc"] if not _ALTERNATIVE.search(str(part)))
    what = first["msg"].removeprefix("Value error, ")
    if first["type"] == "json_invalid":
        if _is_json(body):  # half a surrogate pair, or nested too deeply to be read
            raise ApiError(422, f"The body cannot be read: {what}", code="invalid_value")
        raise ApiError(400, f"The body is not JSON: {what}", code="invalid_json")
    if first["type"] == "extra_forbidden":
        raise ApiError(422, f"Unknown field: {where}", code="unknown_field", param=where)
    if not where or first["type"] == "missing":
        raise ApiError(422, f"{where}: {what}" if where else what, code="invalid_value", param=where or None)
    given = json.dumps(first.get("input"), default=str)[:100]
    raise ApiError(422, f"{where}: {what} (given: {given})", code="invalid_value", param=where)
