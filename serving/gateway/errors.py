"""Errors in OpenAI's shape, ``{"error": {"message", "type", "param", "code"}}``, which clients turn into exceptions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from starlette.responses import Response

RETRY_SECONDS = 2


class ApiError(Exception):
    """An answer other than 200.

    Attributes:
        status: HTTP status.
        message: what happened and what to do, for the person who reads it.
        code: OpenAI's word for it, e.g. ``model_not_found``.
        param: the request field it is about.
        retry_after: seconds after which asking again makes sense.

    Args:
        headers: further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.retry_after = retry_after
        self._headers = headers

    def body(self) -> dict[str, Any]:
        """The JSON body."""
        return {
            "error": {"message": self.message, "type": _error_type(self.status), "param": self.param, "code": self.code}
        }

    def headers(self) -> dict[str, str]:
        """The headers that belong to it."""
        headers = dict(self._headers)
        if self.retry_after is not None:
            headers["retry-after"] = str(self.retry_after)
        if self.code == "stopping":  # the next connection may reach a replica that stays
            headers["connection"] = "close"
        return headers | {"www-authenticate": "Bearer"} if self.status == 401 else headers

    def response(self) -> Response:
        """The HTTP answer."""
        return Response(json.dumps(self.body()), self.status, self.headers(), "application/json")


def unavailable(message: str, code: str) -> ApiError:
    """503 with Retry-After: nothing is wrong with the request, the endpoint cannot answer it just now."""
    return ApiError(503, message, code=code, retry_after=RETRY_SECONDS)


def _error_type(status: int) -> str:
    if status == 401:
        return "authentication_error"
    if status == 403:
        return "permission_error"
    if status == 429:
        return "rate_limit_error"
    return "invalid_request_error" if status < 500 else "server_error"
