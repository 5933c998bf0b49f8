"""Section ``card``: what the model card says that no number can."""

from __future__ import annotations

from pydantic import Field

from tuneline.config.section import Section


class CardConfig(Section):
    """Words for the model card. They change neither the adapter nor its verdict, so they never train anything again."""

    description: str | None = Field(default=None, min_length=1)
    """What the model is, in a sentence or two."""

    intended_use: str | None = Field(default=None, min_length=1)
    """Who should use it for what."""

    out_of_scope: str | None = Field(default=None, min_length=1)
    """What it should not be used for."""

    limits: tuple[str, ...] = ()
    """Known weaknesses. Those that follow from the numbers and licences are added by themselves."""

    license: str | None = Field(default=None, min_length=1)
    """The adapter's own licence; without it the base model's, unless a licence of the data stands against that."""

    language: tuple[str, ...] = ()
    """Languages that it was trained on, as codes such as ``en``."""

    contact: str | None = Field(default=None, min_length=1)
    """Whom to ask: a name, an address or a page."""
