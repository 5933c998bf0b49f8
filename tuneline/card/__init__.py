"""The model card: what a version is, was made from and can do, for whoever has to decide about it."""

from tuneline.card.document import ModelCard
from tuneline.card.markdown import to_markdown
from tuneline.card.write import write_card

__all__ = ["ModelCard", "to_markdown", "write_card"]
