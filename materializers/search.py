"""Searches and their trials: JSON in the store, pages in the dashboard."""

from __future__ import annotations

from typing import Any, ClassVar

from zenml.enums import VisualizationType
from zenml.metadata.metadata_types import MetadataType

from materializers.document import DocumentMaterializer
from tuneline.search.page import search_page
from tuneline.search.report import SearchReport, shown_value
from tuneline.search.trial import Trial


class SearchReportMaterializer(DocumentMaterializer):
    """Keeps a SearchReport; its page shows the trials, the losses and which keys mattered."""

    ASSOCIATED_TYPES: ClassVar[tuple[type[Any], ...]] = (SearchReport,)

    def save_visualizations(self, data: SearchReport) -> dict[str, VisualizationType]:
        """Draw the search."""
        return self.write_page(search_page(data))

    def extract_metadata(self, data: SearchReport) -> dict[str, MetadataType]:
        """What the dashboard lists beside the artifact."""
        best = data.best_trial
        found: dict[str, MetadataType] = {"trials": len(data.trials)}
        if best is not None and best.loss is not None:
            found |= {"best trial": best.number, "best validation loss": best.loss}
            found |= {key: shown_value(value) for key, value in best.values.items()}
        return found


class TrialMaterializer(DocumentMaterializer):
    """Keeps a Trial."""

    ASSOCIATED_TYPES: ClassVar[tuple[type[Any], ...]] = (Trial,)

    def extract_metadata(self, data: Trial) -> dict[str, MetadataType]:
        """What the dashboard lists beside the artifact."""
        values: dict[str, MetadataType] = {key: shown_value(value) for key, value in data.values.items()}
        return values | {"state": data.state} | ({} if data.loss is None else {"validation loss": data.loss})
