"""The chat record: the one shape that every input format is converted to."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Role = Literal["system", "user", "assistant", "tool"]


class Message(BaseModel):
    """One turn of a conversation.

    Attributes:
        weight: share of this turn's loss; only assistant turns have a loss, 0 leaves one out.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Role
    content: str
    weight: float = Field(default=1.0, ge=0.0)


class ChatRecord(BaseModel):
    """A conversation that ends with what the assistant should say.

    Attributes:
        id: unique within its data set.
        source: where it came from (a family, a file); items of one source are alike, and the
            evaluation reports and resamples by it.
        tools: JSON schemas of callable tools, as in OpenAI's API.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    source: str
    messages: list[Message] = Field(min_length=1)
    tools: list[dict[str, Any]] | None = None

    @property
    def prompt(self) -> list[Message]:
        """Everything before the last assistant turn."""
        return self.messages[:-1]

    @property
    def reference(self) -> str:
        """The last turn: what the assistant should answer."""
        return self.messages[-1].content
