"""The version in production as a subject of the evaluation."""

from pathlib import Path

from controlplane.versions import Version
from materializers.folder import bring
from tuneline.evaluation.subjects import AdapterSubject
from tuneline.release.files import ADAPTER_FILES
from tuneline.training.adapter import MERGED


def champion_subject(version: Version, scratch: Path) -> AdapterSubject:
    """Bring what a version is made of from the artifact store.

    Args:
        version: an adapter or a whole model.
        scratch: where its files go if the store is not on this machine.
    """
    ref, whole_model = version.record.adapter, version.record.whole_model
    return AdapterSubject(
        "champion",
        bring(ref.uri, scratch / "adapter", ADAPTER_FILES),
        version.name,
        ref.sha256,
        ref.prompt,
        whole=None if whole_model is None else bring(whole_model.model, scratch / MERGED),
        whole_sha256=None if whole_model is None else whole_model.sha256,
    )
