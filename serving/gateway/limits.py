"""What the applied release's gateway arguments allow a single request."""

from __future__ import annotations

from serving.gateway.errors import ApiError
from serving.gateway.schemas import ChatRequest, CompletionRequest
from serving.gateway.weight import texts, wanted
from tuneline.release import GatewayArguments


def hold(request: ChatRequest | CompletionRequest, limits: GatewayArguments) -> None:
    """Refuse what is above a limit.

    Raises:
        ApiError: 422, naming the field, what was given and what is allowed.
    """
    chat = isinstance(request, ChatRequest)
    length = sum(map(len, texts(request)))
    if length > limits.max_prompt_chars:
        what = "messages" if chat else "prompt"
        raise _above(what, f"{what} and tools have {length} characters", limits.max_prompt_chars)
    given = {
        "max_tokens": (request.max_tokens, limits.max_tokens),
        "n": (request.n, limits.max_n),
        "prompt_logprobs": (request.prompt_logprobs, limits.max_logprobs),
    }
    if isinstance(request, ChatRequest):
        given["max_completion_tokens"] = (request.max_completion_tokens, limits.max_tokens)
        given["top_logprobs"] = (request.top_logprobs, limits.max_logprobs)
    else:
        given["logprobs"] = (request.logprobs, limits.max_logprobs)
    for name, (value, limit) in given.items():
        if value is not None and limit is not None and value > limit:
            raise _above(name, f"{name} is {value}", limit)
    if isinstance(request.stop, list) and len(request.stop) > limits.max_stop:
        raise _above("stop", f"stop has {len(request.stop)} texts", limits.max_stop)


def cap(request: ChatRequest | CompletionRequest, limits: GatewayArguments) -> None:
    """Give a request that names no length the longest one."""
    if limits.max_tokens is not None and wanted(request) is None:
        request.max_tokens = limits.max_tokens
        if request.min_tokens is not None:
            request.min_tokens = min(request.min_tokens, limits.max_tokens)


def _above(param: str, what: str, limit: int) -> ApiError:
    return ApiError(422, f"{what}; this endpoint allows {limit}.", code="above_limit", param=param)
