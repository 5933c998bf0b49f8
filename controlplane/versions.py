"""Model versions in ZenML's Model Control Plane, as tuneline sees them.

A version is registered once its candidate has been trained, evaluated and judged, in one act whose
last step is the record below. A version without the record is the trace of an interrupted run: it
is never shown, promoted or deployed, and the next registration removes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from zenml.client import Client
from zenml.enums import ModelStages
from zenml.models import ModelVersionArtifactRequest, ModelVersionResponse
from zenml.utils.metadata_utils import log_metadata

from tuneline.errors import UserError
from tuneline.release.document import AdapterRef, BaseRef, EngineArguments

RECORD = "tuneline"
Stage = Literal["none", "staging", "production", "archived"]


class VersionRecord(BaseModel):
    """What tuneline writes on a model version, and all that a release needs of it.

    Attributes:
        training_key: fingerprint of the config, data, base model and code that made the version.
        outcome: the gate's verdict, ``sentence`` its reason.
        scores: mean of every metric of the candidate, 0 to 1.
        adapter: what the engine loads.
        base: the base model it belongs to, with the engine it was judged for.
        report: artifact version of the evaluation report, which holds the golden prompts.
        verdict: artifact version of the verdict, rule by rule. None in versions made before it was kept.
        training_set: artifact version of what was trained on.
        evaluation_set: artifact version of the held-out questions.
        card: artifact version of the model card. None in versions made before there was one.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)  # a newer tuneline may have written more

    training_key: str
    outcome: Literal["PASS", "FAIL", "INCONCLUSIVE"]
    sentence: str
    scores: dict[str, float]
    adapter: AdapterRef
    base: BaseRef
    engine: EngineArguments
    report: UUID
    verdict: UUID | None = None
    training_set: UUID | None = None
    evaluation_set: UUID | None = None
    card: UUID | None = None


class Version(BaseModel):
    """A registered model version."""

    model_config = ConfigDict(frozen=True)

    model: str
    name: str
    id: UUID
    stage: Stage
    record: VersionRecord

    @property
    def adapter_name(self) -> str:
        """The adapter's name in releases and in the engine."""
        return adapter_name(self.name)


def adapter_name(version: str) -> str:
    """The name under which releases and the engine know a version's adapter."""
    return f"v{version}"


def list_versions(model: str) -> list[Version]:
    """All registered versions of a model, oldest first; none if the model does not exist."""
    return [version for response in _responses(model) if (version := _version(model, response)) is not None]


def get_version(model: str, name: str) -> Version:
    """One registered version.

    Raises:
        UserError: there is no such version.
    """
    versions = list_versions(model)
    for version in versions:
        if version.name == name:
            return version
    known = ", ".join(version.name for version in versions) or "none yet"
    raise UserError(
        f"{model!r} has no version {name!r} (versions: {known})",
        hint="`python run.py models` lists them with their stages and scores.",
    )


def at_stage(model: str, stage: Stage) -> Version | None:
    """The version at a stage that only one version can have, or None."""
    return next((version for version in list_versions(model) if version.stage == stage), None)


def register(model: str, record_for: VersionRecord, artifacts: Sequence[UUID]) -> Version:
    """Register a judged candidate as the next version.

    Args:
        model: the model's name; created if it is the first version.
        record_for: written last, so that a version that has it is whole. Its adapter's
            ``model_version`` is filled in here, with the number the version gets.
        artifacts: artifact versions to link.
    """
    client = Client()
    if not client.list_models(name=model).items:
        client.create_model(name=model, description=f"Adapters behind the endpoint {model!r}, made by tuneline.")
    for response in _responses(model):
        if RECORD not in response.run_metadata:
            client.delete_model_version(response.id)
    created = client.create_model_version(model)
    for artifact in artifacts:
        client.zen_store.create_model_version_artifact_link(
            ModelVersionArtifactRequest(model_version=created.id, artifact_version=artifact)
        )
    record = record_for.model_copy(
        update={"adapter": record_for.adapter.model_copy(update={"model_version": created.name})}
    )
    log_metadata({RECORD: record.model_dump(mode="json")}, model_name=model, model_version=created.name)
    return Version(model=model, name=created.name, id=created.id, stage="none", record=record)


def set_stage(version: Version, stage: Stage) -> None:
    """Give a version a stage; whoever has it now is archived."""
    Client().update_model_version(version.model, version.id, stage=ModelStages(stage), force=True)


def _responses(model: str) -> list[ModelVersionResponse]:
    client = Client()
    found = client.list_models(name=model).items
    if not found:
        return []
    page = client.list_model_versions(model=found[0].id, sort_by="asc:number", size=1000, hydrate=True)
    return list(page.items)


def _version(model: str, response: ModelVersionResponse) -> Version | None:
    raw = response.run_metadata.get(RECORD)
    if raw is None:
        return None
    return Version(
        model=model,
        name=response.name,
        id=response.id,
        stage=response.stage or "none",  # type: ignore[arg-type]
        record=VersionRecord.model_validate(raw),
    )
