"""``POST /v1/feedback``: what a user thought of an answer, kept for the next training (a source of type ``feedback``).

What comes here is written as it comes, for it is to be learned from: a client must not send what may not be kept.
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from serving.feedback_store import FeedbackStore
from serving.gateway.errors import unavailable
from serving.gateway.outcome import Outcome, Question
from serving.gateway.schemas import parse
from serving.metrics import Metrics

MAX_FEEDBACK_BYTES = 2**20
_REMEMBERED = 10_000  # answers; 5 MB, and some minutes to some days of a busy to a quiet endpoint

Text = Annotated[str, Field(min_length=1, max_length=200_000)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Turn(_Model):
    """One turn of the conversation that is judged, as text."""

    role: Literal["system", "user", "assistant", "tool"]
    content: Text


def _asked(turns: list[Turn]) -> list[Turn]:
    if all(turn.role != "user" for turn in turns):
        raise ValueError("there is no turn of the role 'user'")
    return turns


class FeedbackRequest(_Model):
    """POST /v1/feedback.

    Attributes:
        request_id: the answer's ``x-request-id``.
        rating: whether it was good.
        correction: what should have been answered.
        comment: anything else, for people.
        messages: the conversation, with or without the answer at its end. Only with it can feedback be trained on: a
            correction takes the answer's place, and an answer that was rated ``up`` stays.
    """

    request_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    rating: Literal["up", "down"]
    correction: Text | None = None
    comment: Annotated[str, Field(max_length=4_000)] | None = None
    messages: Annotated[list[Turn], Field(min_length=1, max_length=200), AfterValidator(_asked)] | None = None


class FeedbackAnswer(_Model):
    """What was taken down. ``version`` gave the answer; null if this replica does not know (any longer)."""

    id: str
    object: Literal["feedback"]
    request_id: str
    version: str | None
    trainable: bool


class Answered:
    """The last answers: which version gave them, to whose key. Not what they said."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, dict[str, str]] = OrderedDict()

    def add(self, question: Question, outcome: Outcome) -> None:
        """Remember an answer; an ``Observer``. What a shadow said nobody saw."""
        if outcome.role == "shadow" or outcome.status != 200:
            return
        known = {"version": outcome.version, "asked_by": question.key, "path": question.path}
        self._known[question.request_id] = known
        self._known.move_to_end(question.request_id)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def get(self, request_id: str) -> dict[str, str] | None:
        """Version, key and path of an answer."""
        return self._known.get(request_id)


def take(body: bytes, key: str, answered: Answered, store: FeedbackStore, metrics: Metrics) -> Response:
    """Take down one feedback and answer 201.

    Raises:
        ApiError: 400 or 422, it is not valid; 503, the storage is away and the memory for it full.
    """
    feedback = parse(FeedbackRequest, body)
    known = answered.get(feedback.request_id)
    line = line_of(feedback, key, known)
    if not store.add(line):
        raise unavailable("Feedback cannot be stored just now, and no more can be kept until then.", "feedback_full")
    version = known["version"] if known is not None else None
    metrics.feedback.labels(metrics.endpoint, version or "", feedback.rating).inc()
    answer = FeedbackAnswer(
        id=line["id"],
        object="feedback",
        request_id=feedback.request_id,
        version=version,
        trainable="messages" in line,
    )
    return JSONResponse(answer.model_dump(), 201)


def line_of(feedback: FeedbackRequest, key: str, known: dict[str, str] | None) -> dict[str, Any]:
    """One line of a feedback file: a chat record if it can be learned from, with what else is known beside it."""
    turns = [turn.model_dump() for turn in feedback.messages or ()]
    conversation = turns[:-1] if turns and turns[-1]["role"] == "assistant" else turns
    line: dict[str, Any] = {"id": f"feedback-{uuid.uuid4().hex}", "source": "feedback"}
    if turns and feedback.correction is not None:
        line["messages"] = [*conversation, {"role": "assistant", "content": feedback.correction}]
    elif feedback.rating == "up" and len(conversation) < len(turns):
        line["messages"] = turns
    return line | {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "request_id": feedback.request_id,
        "rating": feedback.rating,
        "corrected": feedback.correction is not None,
        "correction": feedback.correction if "messages" not in line else None,
        "comment": feedback.comment,
        "key": key,
        **(known or dict.fromkeys(("version", "asked_by", "path"))),
    }
