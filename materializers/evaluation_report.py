"""Evaluation reports: every completion and score, so that any verdict can be recomputed."""

from __future__ import annotations

from typing import Any, ClassVar

from zenml.enums import VisualizationType
from zenml.metadata.metadata_types import MetadataType

from materializers.document import DocumentMaterializer
from tuneline.evaluation.report import EvaluationReport
from tuneline.evaluation.report_html import to_html


class EvaluationReportMaterializer(DocumentMaterializer):
    """Keeps an EvaluationReport; its page has the scores of every suite and the answers side by side."""

    ASSOCIATED_TYPES: ClassVar[tuple[type[Any], ...]] = (EvaluationReport,)

    def save_visualizations(self, data: EvaluationReport) -> dict[str, VisualizationType]:
        """Draw the page."""
        return self.write_page(to_html(data))

    def extract_metadata(self, data: EvaluationReport) -> dict[str, MetadataType]:
        """What the dashboard lists beside the artifact."""
        roles = [subject.role for subject in data.lead.subjects]
        scores = {f"{role} {metric}": score for role in roles for metric, score in data.scores(role).items()}
        return {"items": sum(len(suite.items) for suite in data.suites), **scores}
