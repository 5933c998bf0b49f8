"""Verdicts: what the gate decided, and why."""

from __future__ import annotations

from typing import Any, ClassVar

from zenml.enums import VisualizationType
from zenml.metadata.metadata_types import MetadataType

from materializers.document import DocumentMaterializer
from tuneline.gate.verdict import Verdict
from tuneline.gate.verdict_html import to_html


class VerdictMaterializer(DocumentMaterializer):
    """Keeps a Verdict; its page is the sentence and the differences with their intervals."""

    ASSOCIATED_TYPES: ClassVar[tuple[type[Any], ...]] = (Verdict,)

    def save_visualizations(self, data: Verdict) -> dict[str, VisualizationType]:
        """Draw the intervals."""
        return self.write_page(to_html(data))

    def extract_metadata(self, data: Verdict) -> dict[str, MetadataType]:
        """What the dashboard lists beside the artifact."""
        rules: dict[str, MetadataType] = {f"{rule.role} {rule.suite}": rule.outcome for rule in data.rules}
        return {"outcome": data.outcome, "sentence": data.sentence, **rules}
