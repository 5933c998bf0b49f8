"""The questions of all suites: JSON in the store, a table of suites with samples in the dashboard."""

from __future__ import annotations

from html import escape
from typing import Any, ClassVar

from zenml.enums import ArtifactType, VisualizationType
from zenml.metadata.metadata_types import MetadataType

from materializers.document import DocumentMaterializer
from tuneline.evaluation.questions import Questions
from tuneline.page import page, table

_SAMPLES = 5


class QuestionsMaterializer(DocumentMaterializer):
    """Keeps Questions; its page shows each suite's size and first questions."""

    ASSOCIATED_TYPES: ClassVar[tuple[type[Any], ...]] = (Questions,)
    ASSOCIATED_ARTIFACT_TYPE = ArtifactType.DATA

    def save_visualizations(self, data: Questions) -> dict[str, VisualizationType]:
        """Draw the table."""
        parts = []
        for name, items in data.suites.items():
            rows = [
                [item.source, item.messages[-1].content, item.reference, str(len(item.checks) or "")]
                for item in items[:_SAMPLES]
            ]
            parts.append(f"<h2>{escape(name)}: {len(items):,} questions</h2>")
            parts.append(table(["source", "question", "right answer", "checks"], rows, frozenset([3])))
        return self.write_page(page("Questions", f"{len(data):,} in {len(data.suites)} suites", "".join(parts)))

    def extract_metadata(self, data: Questions) -> dict[str, MetadataType]:
        """What the dashboard lists beside the artifact."""
        return {name: len(items) for name, items in data.suites.items()}
