"""Chat data sets: records and quarantine as JSON lines, with an audit page."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from zenml.enums import ArtifactType, VisualizationType
from zenml.metadata.metadata_types import MetadataType

from materializers.folder import PageMaterializer, download, upload
from tuneline.data.audit import audit
from tuneline.data.audit_html import audit_html
from tuneline.data.dataset import ChatDataset


class ChatDatasetMaterializer(PageMaterializer):
    """Keeps a ChatDataset; its page shows sizes, lengths, sources, samples and what was quarantined and why."""

    ASSOCIATED_TYPES: ClassVar[tuple[type[Any], ...]] = (ChatDataset,)
    ASSOCIATED_ARTIFACT_TYPE = ArtifactType.DATA

    def load(self, data_type: type[Any]) -> ChatDataset:
        """Read the data set."""
        with self.get_temporary_directory(delete_at_exit=True) as folder:
            download(self.uri, Path(folder))
            return ChatDataset.load(Path(folder))

    def save(self, data: ChatDataset) -> None:
        """Write the data set."""
        with self.get_temporary_directory(delete_at_exit=True) as folder:
            data.save(Path(folder))
            upload(Path(folder), self.uri)

    def save_visualizations(self, data: ChatDataset) -> dict[str, VisualizationType]:
        """Draw the audit."""
        return self.write_page(audit_html(audit(data), data))

    def extract_metadata(self, data: ChatDataset) -> dict[str, MetadataType]:
        """What the dashboard lists beside the artifact."""
        return {"records": len(data), "quarantined": len(data.quarantined), "fingerprint": data.fingerprint()}

    def compute_content_hash(self, data: ChatDataset) -> str:
        """Equal records are equal inputs for step caching."""
        return data.fingerprint()
