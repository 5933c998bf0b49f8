"""The endpoint's OpenAPI document. Its paths are the routes that exist; what is said of each stands here.

FastAPI's own generation sees none of it: bodies are read by hand, bounded while they arrive, and answers pass through
as bytes. So the schemas come from Pydantic, from the models that check the requests, and the frame is written out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal

from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.routing import BaseRoute

from serving.gateway import api_answers
from serving.gateway.feedback import FeedbackAnswer, FeedbackRequest
from serving.gateway.schemas import ChatRequest, CompletionRequest

_REF = "#/components/schemas/{model}"
_EVENTS = "text/event-stream"


@dataclass(frozen=True)
class Operation:
    """What is said of one route.

    Attributes:
        summary: a few words.
        description: a few sentences.
        request: the body's model.
        answers: content types of the answer and their models; plain text has none.
        status: of that answer.
        errors: the other statuses, each with the reason.
        scope: what a key must be for; None needs no key.
        question: whether it is answered by a version.
    """

    summary: str
    description: str
    answers: dict[str, type[BaseModel] | None]
    request: type[BaseModel] | None = None
    status: int = 200
    errors: tuple[int, ...] = ()
    scope: str | None = None
    question: bool = False


_JSON = "application/json"
_KEY = (401, 403)
_QUESTION = (400, 401, 403, 404, 413, 422, 429, 503)
_SAID = (
    "OpenAI's request, without the fields that this endpoint refuses. `model` is the endpoint's name. "
    "With `stream: true` the answer comes as server-sent events."
)

OPERATIONS: dict[tuple[str, str], Operation] = {
    ("POST", "/v1/chat/completions"): Operation(
        "Answer a conversation",
        f"{_SAID} The version's prompt template is put around `messages`.",
        {_JSON: api_answers.ChatCompletion, _EVENTS: api_answers.ChatCompletionChunk},
        ChatRequest,
        errors=_QUESTION,
        scope="inference",
        question=True,
    ),
    ("POST", "/v1/completions"): Operation(
        "Complete a text",
        f"{_SAID} `prompt` is passed on as it is.",
        {_JSON: api_answers.Completion, _EVENTS: api_answers.Completion},
        CompletionRequest,
        errors=_QUESTION,
        scope="inference",
        question=True,
    ),
    ("POST", "/v1/feedback"): Operation(
        "Say whether an answer was good",
        "Kept for the next training. `request_id` is the answer's `x-request-id`; one that is not known is taken too.",
        {_JSON: FeedbackAnswer},
        FeedbackRequest,
        status=201,
        errors=(400, *_KEY, 413, 422, 503),
        scope="feedback",
    ),
    ("GET", "/v1/models"): Operation(
        "List the model",
        "One model, the endpoint; its versions share its name.",
        {_JSON: api_answers.Models},
        errors=_KEY,
        scope="inference",
    ),
    ("GET", "/release"): Operation(
        "Say what is live",
        "The applied release: base model, adapters and who gets which traffic.",
        {_JSON: api_answers.Live},
        errors=_KEY,
        scope="inference",
    ),
    ("GET", "/metrics"): Operation(
        "Metrics for Prometheus",
        "The gateway's own, and the engine's that begin with `vllm:`.",
        {"text/plain": None},
        errors=_KEY,
        scope="metrics",
    ),
    ("GET", "/livez"): Operation("Whether the gateway lives", "Says `ok`.", {"text/plain": None}),
    ("GET", "/readyz"): Operation(
        "Whether questions are answered",
        "503 with the same form while they are not.",
        {_JSON: api_answers.Readiness},
        errors=(503,),
    ),
    ("GET", "/api"): Operation("This page", "For people.", {"text/html": None}),
    ("GET", "/api/openapi.json"): Operation("This document", "OpenAPI 3.1.", {_JSON: None}),
}

_TAGS = (("/v1/", "For applications"), ("/api", "This page"), ("/", "For operations"))
_HEADERS = {
    "x-request-id": ("The id under which logs, traces and feedback know it.", {"type": "string"}),
    "x-tuneline-version": ("The version that answered.", {"type": "string"}),
    "x-tuneline-cache": ("Whether it was answered before; only where that may be.", {"enum": ["hit", "miss"]}),
}
_PARAMETERS = {
    "x-request-id": ("An id of the client's own, kept if harmless.", r"^[A-Za-z0-9._-]{1,64}$"),
    "x-tuneline-version": ("Ask this version; needs the scope `pin`.", r"^\S+$"),
    "traceparent": ("W3C trace context to go on with.", r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"),
}


def document(endpoint: str, routes: Sequence[BaseRoute]) -> dict[str, Any]:
    """The document of the routes that exist.

    Raises:
        KeyError: a route that is to be shown is not described here.
    """
    shown = [route for route in routes if isinstance(route, APIRoute) and route.include_in_schema]
    operations = {
        (method, route.path): OPERATIONS[method, route.path] for route in shown for method in route.methods or ()
    }
    paths: dict[str, dict[str, Any]] = {}
    for (method, path), operation in operations.items():
        paths.setdefault(path, {})[method.lower()] = _operation(method, path, operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": endpoint,
            "version": "1",
            "description": "OpenAI's own clients work with it once they have its address.",
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(operations.values()),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key, `tl-…`."}},
        },
    }


def _schemas(operations: Iterable[Operation]) -> dict[str, Any]:
    models: list[tuple[type[BaseModel], Literal["validation", "serialization"]]] = [
        (api_answers.Error, "serialization")
    ]
    for operation in operations:
        if operation.request is not None:
            models.append((operation.request, "validation"))
        models += [(model, "serialization") for model in operation.answers.values() if model is not None]
    _, found = models_json_schema(list(dict.fromkeys(models)), ref_template=_REF)
    schemas: dict[str, Any] = found["$defs"]
    return schemas


def _operation(method: str, path: str, operation: Operation) -> dict[str, Any]:
    name = f"{method.lower()}{path.replace('/', '_').replace('.', '_')}"
    headers = {
        header: {"description": text, "schema": schema}
        for header, (text, schema) in _HEADERS.items()
        if operation.question or header == "x-request-id"
    }
    content = {kind: {"schema": _schema(model, kind)} for kind, model in operation.answers.items()}
    found: dict[str, Any] = {
        "operationId": name,
        "tags": [next(tag for prefix, tag in _TAGS if path.startswith(prefix))],
        "summary": operation.summary,
        "description": operation.description
        + (f" Needs a key with the scope `{operation.scope}`." if operation.scope is not None else ""),
        "security": [{"key": []}] if operation.scope is not None else [],
        "responses": {
            str(operation.status): {"description": operation.summary, "headers": headers, "content": content},
            **{str(status): _error(status, path) for status in operation.errors},
        },
    }
    if operation.request is not None:
        schema = {"$ref": _REF.format(model=operation.request.__name__)}
        found["requestBody"] = {"required": True, "content": {_JSON: {"schema": schema}}}
    if operation.question:
        found["parameters"] = [
            {"name": header, "in": "header", "description": text, "schema": {"type": "string", "pattern": pattern}}
            for header, (text, pattern) in _PARAMETERS.items()
        ]
    return found


def _schema(model: type[BaseModel] | None, kind: str) -> dict[str, Any]:
    if model is None:
        return {"type": "object" if kind == _JSON else "string"}
    # OpenAPI 3.1 has no word for the items of a stream; tools read the schema as that of one event's data.
    return {"$ref": _REF.format(model=model.__name__)}


def _error(status: int, path: str) -> dict[str, Any]:
    model: type[BaseModel] = api_answers.Readiness if path == "/readyz" else api_answers.Error
    found: dict[str, Any] = {
        "description": HTTPStatus(status).phrase,
        "content": {_JSON: {"schema": _schema(model, _JSON)}},
    }
    if status in (429, 503):
        found["headers"] = {
            "retry-after": {"description": "Seconds after which to ask again.", "schema": {"type": "integer"}}
        }
    return found
