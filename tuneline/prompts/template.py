"""The prompt template that travels with a model version, so that nothing it was trained on drifts in serving.

Imports nothing but Pydantic: the gateway uses it in an environment without transformers.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class PromptTemplate(BaseModel):
    """What is put around the user's messages.

    Attributes:
        name: shown in cards and reports.
        system: the system message, used when a conversation brings none of its own.
        few_shot: example turns (``{"role", "content"}``) put between the system message and the conversation.
        chat_template: a Jinja chat template that replaces the tokenizer's own; None keeps that one.
        stop: strings that end an answer, beside the end-of-turn token.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "plain"
    system: str | None = None
    few_shot: tuple[dict[str, str], ...] = ()
    chat_template: str | None = None
    stop: tuple[str, ...] = Field(default=())

    def apply(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Put the system message and the examples in front of a conversation.

        A system message that the conversation brings itself wins over the template's.
        """
        own_system = [m for m in messages[:1] if m.get("role") == "system"]
        system = own_system or ([{"role": "system", "content": self.system}] if self.system else [])
        return [*system, *(dict(turn) for turn in self.few_shot), *messages[len(own_system) :]]
