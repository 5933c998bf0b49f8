"""How much of the engine a question may take, before anybody has counted: places, and tokens to set aside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from serving.gateway.schemas import ChatRequest, CompletionRequest
from tuneline.release import EngineArguments, GatewayArguments

# English is about four bytes a token for vocabularies of 100,000 and more, code and small vocabularies nearer to two.
_BYTES_PER_TOKEN = 3
# Set aside for an answer whose length nobody named: the engine's own bound, the context, is nearly never reached, and
# would keep a key to one question at a time.
_UNNAMED_ANSWER = 1024


@dataclass(frozen=True)
class Weight:
    """What one question may come to.

    Attributes:
        places: sequences in the engine: every answer to every prompt is one.
        tokens: of prompts and answers together.
        least: the same with the shortest answers that the client has left open.
    """

    places: int
    tokens: int
    least: int


def weigh(request: ChatRequest | CompletionRequest, gateway: GatewayArguments, engine: EngineArguments) -> Weight:
    """The weight of a question; the engine's own count replaces it afterwards."""
    answers = request.n or 1
    if isinstance(request, CompletionRequest):
        answers *= prompts(request)
    longest = min(gateway.max_tokens or _UNNAMED_ANSWER, engine.max_model_len or _UNNAMED_ANSWER, _UNNAMED_ANSWER)
    prompt = sum(len(t) if isinstance(t, list) else -(-len(t.encode()) // _BYTES_PER_TOKEN) for t in texts(request))
    named = wanted(request)
    return Weight(places=answers, tokens=prompt + answers * (named or longest), least=prompt + answers * (named or 1))


def wanted(request: ChatRequest | CompletionRequest) -> int | None:
    """The longest answer the client wants, tokens."""
    if isinstance(request, ChatRequest) and request.max_completion_tokens is not None:
        return request.max_completion_tokens
    return request.max_tokens


def prompts(request: CompletionRequest) -> int:
    """Prompts in a completion request: a text or a list of token ids is one."""
    prompt = request.prompt
    return len(prompt) if isinstance(prompt, list) and not isinstance(prompt[0], int) else 1


def texts(request: ChatRequest | CompletionRequest) -> Iterator[str | list[int]]:
    """Every piece of the prompts: texts, or lists of token ids."""
    if isinstance(request, CompletionRequest):
        prompt = request.prompt
        one = isinstance(prompt, str) or isinstance(prompt[0], int)
        yield from [prompt] if one else prompt  # type: ignore[misc]
        return
    for message in request.messages:
        if isinstance(message.content, str):
            yield message.content
        elif message.content is not None:
            yield from (part.text for part in message.content)
        for call in message.tool_calls or ():
            yield str(call)
    for tool in request.tools or ():
        yield str(tool)
