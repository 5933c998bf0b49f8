"""Model versions in ZenML's Model Control Plane, as tuneline sees them.

A version is registered once its candidate has been trained, evaluated and judged, in one act whose
last step is the record below. A version without the record is the trace of an interrupted run: it
is never shown, promoted or deployed, and a registration that comes an hour later removes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from zenml.client import Client
from zenml.enums import ModelStages
from zenml.models import ModelVersionArtifactRequest, ModelVersionResponse, ModelVersionUpdate
from zenml.utils.metadata_utils import log_metadata

from controlplane.history import Stage, StageEvent, event, events_in, override_in, write
from tuneline.errors import UserError
from tuneline.release.document import AdapterRef, BaseRef, EngineArguments

RECORD = "tuneline"
ABANDONED_AFTER = timedelta(hours=1)  # a younger version without a record may be one that is being registered now


class VersionRecord(BaseModel):
    """What tuneline writes on a model version, and all that a release needs of it.

    Attributes:
        training_key: fingerprint of the config, data, base model and code that made the version.
        outcome: the gate's verdict, ``sentence`` its reason.
        scores: mean of every metric of the candidate, 0 to 1.
        adapter: what the engine loads. Of a whole model it changes nothing and stands for the version there.
        base: the base model it was trained from, with the engine it was judged for.
        whole_model: the version's own weights, which take the base model's place; None for an adapter over that.
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
    whole_model: BaseRef | None = None
    engine: EngineArguments
    report: UUID
    verdict: UUID | None = None
    training_set: UUID | None = None
    evaluation_set: UUID | None = None
    card: UUID | None = None

    @property
    def served_base(self) -> BaseRef:
        """What an engine has to start with to serve the version."""
        return self.whole_model or self.base


class Version(BaseModel):
    """A registered model version.

    Attributes:
        model: the model's name, which is the endpoint's.
        name: its number.
        id: ZenML's.
        stage: where it stands.
        record: what it is.
        events: what happened to it, oldest first.
        tags: ZenML's; ``challenger`` while it is one.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    name: str
    id: UUID
    stage: Stage
    record: VersionRecord
    events: tuple[StageEvent, ...] = ()
    tags: frozenset[str] = frozenset()

    @property
    def override(self) -> StageEvent | None:
        """Who overruled the gate for this version and why; None if it passed, or never got that far."""
        return override_in(self.events)

    @property
    def written_stage(self) -> Stage:
        """The stage that its events lead to. It lags behind if whoever moved it was killed before writing it down."""
        return next((entry.to for entry in reversed(self.events) if entry.moves), self.stage)

    @property
    def was_in_production(self) -> bool:
        """Whether it has ever had the production stage."""
        if not self.events:  # registered before events were kept
            return self.stage in ("production", "archived")
        return any(entry.action in ("promoted", "rolled back") for entry in self.events)

    @property
    def adapter_name(self) -> str:
        """The adapter's name in releases and in the engine."""
        return adapter_name(self.name)


def adapter_name(version: str) -> str:
    """The name under which releases and the engine know a version's adapter."""
    return f"v{version}"


def list_versions(model: str) -> list[Version]:
    """All registered versions of a model, oldest first; none if the model does not exist."""
    return _versions(model)


def find_version(model: str, name: str) -> Version | None:
    """One registered version, or None."""
    return next(iter(_versions(model, name=f"equals:{name}")), None)


def get_version(model: str, name: str) -> Version:
    """One registered version.

    Raises:
        UserError: there is no such version.
    """
    version = find_version(model, name)
    if version is not None:
        return version
    known = ", ".join(version.name for version in list_versions(model)) or "none yet"
    raise UserError(
        f"{model!r} has no version {name!r} (versions: {known})",
        hint="`python run.py models` lists them with their stages and scores.",
    )


def at_stage(model: str, stage: Stage) -> Version | None:
    """The version at a stage that only one version can have, or None."""
    return next(iter(_versions(model, stage=f"equals:{stage}")), None)


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
        age = datetime.now(UTC) - response.created.replace(tzinfo=UTC)  # ZenML's times have no zone and are UTC
        if RECORD not in response.run_metadata and age > ABANDONED_AFTER:
            client.delete_model_version(response.id)
    created = client.create_model_version(model)
    for artifact in artifacts:
        client.zen_store.create_model_version_artifact_link(
            ModelVersionArtifactRequest(model_version=created.id, artifact_version=artifact)
        )
    record = record_for.model_copy(
        update={"adapter": record_for.adapter.model_copy(update={"model_version": created.name})}
    )
    version = Version(model=model, name=created.name, id=created.id, stage="none", record=record)
    registered = event(version, "registered", "none", record.sentence)
    write(version.id, registered)
    log_metadata(metadata={RECORD: record.model_dump(mode="json")}, model_version_id=version.id)
    return version.model_copy(update={"events": (registered,)})


def move_to_staging(version: Version) -> Version:
    """Move a version that passed the gate to staging; one that waits there is archived.

    Returns:
        The version as it is then.
    """
    waiting = at_stage(version.model, "staging")
    set_stage(version, "staging")
    if waiting is not None and waiting.id != version.id:
        write(waiting.id, event(waiting, "archived", "archived", f"version {version.name} took its place in staging"))
    staged = event(version, "staged", "staging", version.record.sentence)
    write(version.id, staged)
    return version.model_copy(update={"stage": "staging", "events": (*version.events, staged)})


def set_stage(version: Version, to: Stage) -> None:
    """Give a version a stage; whoever has it now is archived. What it was for is the caller's to write down."""
    Client().zen_store.update_model_version(version.id, ModelVersionUpdate(stage=ModelStages(to), force=True))


def _versions(model: str, name: str | None = None, stage: str | None = None) -> list[Version]:
    found = (_version(model, response) for response in _responses(model, name, stage))
    return [version for version in found if version is not None]


def _responses(model: str, name: str | None = None, stage: str | None = None) -> list[ModelVersionResponse]:
    page = Client().list_model_versions(
        model=model, name=name, stage=stage, sort_by="asc:number", size=1000, hydrate=True
    )
    # ZenML takes the model's name for the beginning of an id as well.
    return [response for response in page.items if response.model.name == model]


def _version(model: str, response: ModelVersionResponse) -> Version | None:
    metadata = response.run_metadata
    if RECORD not in metadata:
        return None
    return Version(
        model=model,
        name=response.name,
        id=response.id,
        stage=response.stage or "none",
        record=VersionRecord.model_validate(metadata[RECORD]),
        events=events_in(metadata),
        tags=frozenset(tag.name for tag in response.tags),
    )
