"""Model cards: facts as JSON, the card itself as README.md beside them."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel
from zenml.enums import VisualizationType
from zenml.metadata.metadata_types import MetadataType

from materializers.document import DocumentMaterializer
from tuneline.card import ModelCard, to_markdown
from tuneline.card.page import card_page


class ModelCardMaterializer(DocumentMaterializer):
    """Keeps a ModelCard; its page is the card."""

    ASSOCIATED_TYPES: ClassVar[tuple[type[Any], ...]] = (ModelCard,)

    def save(self, data: BaseModel) -> None:
        """Write the facts, and the card as people and the Hugging Face hub read it."""
        super().save(data)
        assert isinstance(data, ModelCard)
        with self.artifact_store.open(f"{self.uri}/README.md", "w") as file:
            file.write(to_markdown(data))

    def save_visualizations(self, data: ModelCard) -> dict[str, VisualizationType]:
        """Draw the card."""
        return self.write_page(card_page(data))

    def extract_metadata(self, data: ModelCard) -> dict[str, MetadataType]:
        """What the dashboard lists beside the artifact."""
        return {"license": data.license or "unknown", "limits": len(data.limits)}
