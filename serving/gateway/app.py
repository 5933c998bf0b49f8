"""The gateway's HTTP surface. What is not listed here does not exist."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from serving.endpoint import NO_PRODUCTION, Endpoint
from serving.gateway.answer import Answer
from serving.gateway.api_page import api_page
from serving.gateway.auth import require
from serving.gateway.errors import RETRY_SECONDS, ApiError, unavailable
from serving.gateway.feedback import MAX_FEEDBACK_BYTES, take
from serving.gateway.limits import cap, hold
from serving.gateway.observe import Observe, Record
from serving.gateway.outcome import Question
from serving.gateway.schemas import ChatRequest, CompletionRequest, parse
from serving.metrics import CONTENT_TYPE

logger = logging.getLogger(__name__)


def create_app(endpoint: Endpoint) -> FastAPI:
    """The ASGI application of one endpoint. Its lifespan starts and stops the engine and what follows the releases."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await endpoint.start()
        try:
            yield
        finally:
            await endpoint.stop()

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False, lifespan=lifespan)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _not_found)

    @app.get("/livez")
    async def livez() -> Response:
        return PlainTextResponse("ok\n")

    @app.get("/readyz")
    async def readyz(request: Request) -> Response:
        await endpoint.engine.check()
        readiness = endpoint.readiness(with_log=endpoint.keys.knows(request.headers.get("authorization")))
        # A balancer lets nobody through to what is not ready, and the proof of an endpoint's first version asks it by
        # name before it gets the traffic: without production it is in service, for those who name a version.
        if readiness["ready"] or readiness["state"] == NO_PRODUCTION:
            return JSONResponse(readiness)
        return JSONResponse(readiness, 503, {"retry-after": str(RETRY_SECONDS)})

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        _authorize(endpoint, request, "metrics")
        return Response(
            endpoint.metrics.render(await endpoint.engine.metrics()), headers={"content-type": CONTENT_TYPE}
        )

    @app.get("/release")
    async def release(request: Request) -> Response:
        _authorize(endpoint, request, "inference")
        return JSONResponse(endpoint.describe())

    @app.get("/v1/models")
    async def models(request: Request) -> Response:
        _authorize(endpoint, request, "inference")
        table = endpoint.live.table
        model = {"id": endpoint.name, "object": "model", "owned_by": "tuneline"}
        data = [model | {"created": int(table.release.created_at.timestamp())}] if table is not None else []
        return JSONResponse({"object": "list", "data": data})

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        return await _answer(endpoint, request, ChatRequest)

    @app.post("/v1/completions")
    async def completions(request: Request) -> Response:
        return await _answer(endpoint, request, CompletionRequest)

    @app.post("/v1/feedback")
    async def feedback(request: Request) -> Response:
        key = _authorize(endpoint, request, "feedback")
        body = await _body(request, MAX_FEEDBACK_BYTES)
        return take(body, key.id, endpoint.answered, endpoint.feedback, endpoint.metrics)

    app.include_router(api_page(endpoint.name, app.routes))
    paths = [route.path for route in app.routes if isinstance(route, Route)]
    app.add_middleware(Observe, metrics=endpoint.metrics, paths=paths, traces=endpoint.traces)
    return app


async def _answer(endpoint: Endpoint, request: Request, schema: type[Any]) -> Response:
    """Check who asks and what, then hand the question to a version."""
    key = _authorize(endpoint, request, "inference")
    pin = request.headers.get("x-tuneline-version")
    if pin is not None:
        require(key, "pin")
    limits = endpoint.limits
    body = parse(schema, await _body(request, limits.max_body_bytes))
    if body.model != endpoint.name:
        raise ApiError(
            404,
            f"The model {body.model!r} does not exist; this endpoint is {endpoint.name!r}.",
            code="model_not_found",
            param="model",
        )
    hold(body, limits)
    if body.prompt_logprobs is not None:
        require(key, "pin")  # costs as much as the whole prompt's generation, and is there for the parity check
    if endpoint.stopping:
        raise unavailable("The endpoint is being stopped.", "stopping")
    record = _record(request)
    ticket = endpoint.admission.admit(key, body)
    record.headers += ticket.headers
    cap(body, limits)
    caller = body.user or key.id
    question = Question(
        request.url.path, body, record.request_id, key.id, caller, pin=pin, traceparent=record.traceparent
    )
    return Answer(endpoint.live, question, ticket, record)


def _authorize(endpoint: Endpoint, request: Request, scope: Any) -> Any:
    key = endpoint.keys.check(request.headers.get("authorization"), scope)
    _record(request).key = key.id
    return key


def _record(request: Request) -> Record:
    record: Record = request.scope["tuneline"]
    return record


async def _body(request: Request, limit: int) -> bytes:
    """The request's body; how long it may take to come is the worker's business (``serving.connection``)."""
    too_large = ApiError(413, f"The body is larger than {limit} bytes.", code="body_too_large")
    if int(request.headers.get("content-length", "0")) > limit:
        raise too_large
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > limit:
            raise too_large
    return bytes(body)


async def _api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error.response()


async def _not_found(request: Request, _: Exception) -> Response:
    """Whatever the router refuses, a known path with another method too: it does not exist."""
    return ApiError(404, f"There is no {request.method} {request.url.path} here.", code="not_found").response()
