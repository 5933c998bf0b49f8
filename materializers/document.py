"""Artifacts that are one typed document: JSON in the store, a page in the dashboard."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar

from pydantic import BaseModel
from zenml.enums import ArtifactType

from materializers.folder import PageMaterializer


class DocumentMaterializer(PageMaterializer):
    """Keeps a Pydantic model as ``document.json``."""

    SKIP_REGISTRATION = True
    ASSOCIATED_TYPES: ClassVar[tuple[type[Any], ...]] = (BaseModel,)
    ASSOCIATED_ARTIFACT_TYPE = ArtifactType.DATA_ANALYSIS

    @property
    def _path(self) -> str:
        return f"{self.uri}/document.json"

    def load(self, data_type: type[Any]) -> BaseModel:
        """Read and check the document."""
        with self.artifact_store.open(self._path, "r") as file:
            document: BaseModel = self.ASSOCIATED_TYPES[0].model_validate_json(file.read())
        return document

    def save(self, data: BaseModel) -> None:
        """Write the document."""
        with self.artifact_store.open(self._path, "w") as file:
            file.write(data.model_dump_json(indent=2))

    def compute_content_hash(self, data: BaseModel) -> str:
        """Equal documents are equal inputs for step caching."""
        return hashlib.sha256(data.model_dump_json().encode()).hexdigest()
