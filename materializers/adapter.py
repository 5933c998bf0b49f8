"""LoRA adapters and whole models: their files as they are, so that any engine loads them straight from the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from zenml.enums import ArtifactType, VisualizationType
from zenml.metadata.metadata_types import MetadataType

from materializers.folder import PageMaterializer, download, upload
from tuneline.training.adapter import MERGED, LoraAdapter
from tuneline.training.page import training_page


class AdapterMaterializer(PageMaterializer):
    """Keeps a LoraAdapter as plain files; its page is the training curve with the run's numbers."""

    ASSOCIATED_TYPES: ClassVar[tuple[type[Any], ...]] = (LoraAdapter,)
    ASSOCIATED_ARTIFACT_TYPE = ArtifactType.MODEL

    def load(self, data_type: type[Any]) -> LoraAdapter:
        """Copy the adapter out of the store; the copy lasts as long as the step.

        A whole model of a store on this machine is not copied: the folder has a link to it.
        """
        whole = Path(self.uri.removeprefix("file://")) / MERGED
        with self.get_temporary_directory(delete_at_exit=False, delete_after_step_execution=True) as name:
            folder = Path(name)
            download(self.uri, folder, leave_out=MERGED if whole.is_dir() else None)
            if whole.is_dir():
                (folder / MERGED).symlink_to(whole, target_is_directory=True)
        return LoraAdapter(folder)

    def save(self, data: LoraAdapter) -> None:
        """Copy the adapter into the store."""
        upload(data.folder, self.uri)

    def save_visualizations(self, data: LoraAdapter) -> dict[str, VisualizationType]:
        """Draw the training curve."""
        return self.write_page(training_page(data))

    def extract_metadata(self, data: LoraAdapter) -> dict[str, MetadataType]:
        """What the dashboard lists beside the artifact. ZenML's metadata knows no None, so that is left out."""
        numbers = {key: value for key, value in data.training.items() if value is not None}
        hashes = {key: data.origin[key] for key in ("prompt_sha256", "base_sha256") if key in data.origin}
        if data.merged_sha256 is not None:
            hashes["whole_model_sha256"] = data.merged_sha256
        return {"sha256": data.sha256, "rank": data.rank, **numbers, **hashes}

    def compute_content_hash(self, data: LoraAdapter) -> str:
        """Equal adapters are equal inputs for step caching; whole models may have equal adapters beside them."""
        return data.sha256 if data.merged_sha256 is None else f"{data.sha256}-{data.merged_sha256}"
