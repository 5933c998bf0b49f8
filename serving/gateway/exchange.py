"""One question to the engine and its answer back, streamed as it comes.

The engine's answer goes through as bytes. Only the ``model`` field is rewritten, whole server-sent events at a time,
because parsing and writing JSON for every token costs more than the rest of the gateway.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from typing import Any, Protocol

import aiohttp

from serving.engine.supervisor import Engine
from serving.gateway.errors import ApiError, unavailable
from serving.gateway.outcome import Outcome, Question
from serving.gateway.routing import Target
from serving.gateway.schemas import ChatRequest

logger = logging.getLogger(__name__)

JSON, STREAM = b"application/json", b"text/event-stream; charset=utf-8"
_EVENT_END = b"\n\n"
_ERROR = b'data: {"error"'
_DONE = b"data: [DONE]\n\n"


class Sink(Protocol):
    """Where an answer goes."""

    async def begin(self, content_type: bytes, length: int | None) -> None:
        """The engine answers: with a body of ``length`` bytes, or with a stream."""

    async def piece(self, data: bytes, *, last: bool) -> None:
        """A part of the body."""


def engine_body(question: Question, target: Target) -> bytes:
    """The request as the engine gets it: its own model name, and for conversations the version's prompt template."""
    request = question.request
    body: dict[str, Any] = request.model_dump(exclude_unset=True)
    body["model"] = target.engine_name
    if request.stream:  # every answer is counted, whether its caller wants to see the count or not
        wanted = request.stream_options or {}
        # counts in every event belong to those who asked for counts: the engine gives them to nobody else either
        body["stream_options"] = (wanted if wanted.get("include_usage") else {}) | {"include_usage": True}
    if isinstance(request, ChatRequest):
        prompt = target.prompt
        body["messages"] = prompt.apply(body["messages"])
        if prompt.stop:
            own = request.stop or []
            body["stop"] = list(dict.fromkeys([*([own] if isinstance(own, str) else own), *prompt.stop]))
        if prompt.chat_template is not None:
            body["chat_template"] = prompt.chat_template
    return json.dumps(body).encode()


async def exchange(
    engine: Engine, question: Question, target: Target, name: str, body: bytes, outcome: Outcome, sink: Sink
) -> None:
    """Ask the engine, pass its answer on and write down in ``outcome`` what became of it.

    Args:
        name: what clients call the model.
        body: from ``engine_body``.

    Raises:
        ApiError: the engine refused or could not answer, and nothing has been passed on.
    """
    process = engine.process
    if process is None:
        raise unavailable("The engine is not running.", "engine_unavailable")
    headers = {"content-type": "application/json", "accept-encoding": "identity", "x-request-id": question.request_id}
    if question.traceparent is not None:
        headers["traceparent"] = question.traceparent
    stream = question.request.stream
    begun = False
    outcome.asked = time.perf_counter()
    try:
        async with process.session.post(question.path, data=body, headers=headers) as upstream:
            if upstream.status < 500:
                engine.last_answer = time.monotonic()
            if upstream.status != 200:
                error = _translated(upstream.status, await upstream.text(), target, name)
                outcome.status = error.status
                raise error
            if not stream:
                data = _renamed(target, name, await upstream.read())
                outcome.read(data)
                outcome.status = 200
                if outcome.keep:
                    outcome.body += data
                begun = True
                await sink.begin(JSON, len(data))
                await sink.piece(data, last=True)
                return
            begun = True
            await sink.begin(STREAM, None)
            await _stream(engine, question, target, name, upstream, outcome, sink)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        logger.warning("request %s: the engine broke off: %r", question.request_id, error)
        outcome.status = 503
        engine.suspect()
        if engine.state == "stopped":
            broke_off = unavailable("The engine was ended before this answer was complete.", "stopping")
        else:
            broke_off = unavailable(
                "The engine ended while it was answering; it is being started again.", "engine_unavailable"
            )
        if not begun:
            raise broke_off from error
        if not stream:
            raise
        await sink.piece(b"data: " + json.dumps(broke_off.body()).encode() + _EVENT_END, last=True)
    finally:
        outcome.seconds = time.perf_counter() - outcome.asked


async def _stream(
    engine: Engine,
    question: Question,
    target: Target,
    name: str,
    upstream: aiohttp.ClientResponse,
    outcome: Outcome,
    sink: Sink,
) -> None:
    options = question.request.stream_options or {}
    wants_usage = bool(options.get("include_usage"))
    pending = b""
    async for piece in upstream.content.iter_any():
        pending += piece
        whole = pending.rfind(_EVENT_END) + len(_EVENT_END)
        if whole < len(_EVENT_END):
            continue
        engine.last_answer = time.monotonic()
        if outcome.ttft is None:
            outcome.ttft = time.perf_counter() - outcome.asked
        data, pending = _renamed(target, name, pending[:whole]), pending[whole:]
        outcome.read(data)
        if outcome.status == 0 and data.startswith(_ERROR):
            data, outcome.status = _translated_event(data, target, name)
        if not wants_usage and b'"choices":[]' in data:
            data = b"".join(event + _EVENT_END for event in data.split(_EVENT_END)[:-1] if b'"choices":[]' not in event)
        if data.endswith(_DONE) and outcome.status == 0:
            outcome.status = 200
        if outcome.keep:
            outcome.body += data
        if data:
            await sink.piece(data, last=False)
    if outcome.status == 0:
        outcome.status = 503  # it ended without saying so
    await sink.piece(_renamed(target, name, pending), last=True)


def _renamed(target: Target, name: str, data: bytes) -> bytes:
    return target.model_field.sub(b'"model":"%s"' % name.encode(), data)


def _translated_event(data: bytes, target: Target, name: str) -> tuple[bytes, int]:
    """A stream that begins with an error, in our words, and its status: vLLM says 200 before it looks at token ids."""
    event, _, rest = data.partition(_EVENT_END)
    text = event.removeprefix(b"data: ").decode(errors="replace")
    status = 500
    with contextlib.suppress(ValueError, KeyError, TypeError):
        status = int(json.loads(text)["error"]["code"])
    error = _translated(status, text, target, name)
    return b"data: " + json.dumps(error.body()).encode() + _EVENT_END + rest, error.status


def _translated(status: int, text: str, target: Target, name: str) -> ApiError:
    """The engine's refusal as the gateway's: a bad request is the client's, anything else is worth another try."""
    message, param = text[:1000], None
    with contextlib.suppress(ValueError, KeyError, TypeError):
        error = json.loads(text)["error"]
        message, param = str(error["message"]), error.get("param")
    message = message.replace(target.engine_name, name)
    if status in (400, 413, 422):
        return ApiError(422, message, code="engine_refused", param=param)
    logger.error("the engine answered %d: %s", status, message)
    return unavailable(f"The engine could not answer: {message}", "engine_unavailable")
