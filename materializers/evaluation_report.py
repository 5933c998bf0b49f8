"""Evaluation reports: every completion and score, so that any verdict can be recomputed."""

from __future__ import annotations

from typing import Any, ClassVar

from zenml.enums import VisualizationType
from zenml.metadata.metadata_types import MetadataType

from materializers.document import DocumentMaterializer
from tuneline.evaluation.report import EvaluationReport
from tuneline.evaluation.report_html import to_html


class EvaluationReportMaterializer(DocumentMaterializer):
    """Keeps an EvaluationReport; its page has the scoreboard and the answers side by side."""

    ASSOCIATED_TYPES: ClassVar[tuple[type[Any], ...]] = (EvaluationReport,)

    def save_visualizations(self, data: EvaluationReport) -> dict[str, VisualizationType]:
        """Draw the scoreboard."""
        return self.write_page(to_html(data))

    def extract_metadata(self, data: EvaluationReport) -> dict[str, MetadataType]:
        """What the dashboard lists beside the artifact."""
        scores = {f"{role} {metric}": score for role, means in data.means().items() for metric, score in means.items()}
        return {"items": len(data.items), **scores}
