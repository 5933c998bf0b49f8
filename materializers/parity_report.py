"""Parity reports: whether the served adapter is the evaluated one."""

from __future__ import annotations

from typing import Any, ClassVar

from zenml.enums import VisualizationType
from zenml.metadata.metadata_types import MetadataType

from materializers.document import DocumentMaterializer
from tuneline.release.parity import ParityReport
from tuneline.release.parity_page import parity_page


class ParityReportMaterializer(DocumentMaterializer):
    """Keeps a ParityReport; its page lists the golden prompts with their differences."""

    ASSOCIATED_TYPES: ClassVar[tuple[type[Any], ...]] = (ParityReport,)

    def save_visualizations(self, data: ParityReport) -> dict[str, VisualizationType]:
        """Draw the differences."""
        return self.write_page(parity_page(data))

    def extract_metadata(self, data: ParityReport) -> dict[str, MetadataType]:
        """What the dashboard lists beside the artifact."""
        return {
            "prompts": len(data.prompts),
            "largest_difference": data.largest_difference,
            "largest_token_difference": data.largest_token_difference,
            "passed": data.passed,
        }
