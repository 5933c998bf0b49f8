"""Who moved a version, when and why: one entry of ZenML metadata per move, never changed and never removed.

ZenML keeps one value per metadata key and merges dictionaries that are written under the same key. So every event has
a key of its own: two commands that write at once cannot lose each other's, and an event that is written again by
whoever completes an interrupted command replaces itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from zenml.client import Client
from zenml.enums import MetadataResourceTypes
from zenml.models import RunMetadataResource

from tuneline.release.document import Release

if TYPE_CHECKING:
    from controlplane.versions import Version

Stage = Literal["none", "staging", "production", "archived"]
PREFIX = "tuneline.event."
Action = Literal[
    "registered",
    "staged",
    "promoted",
    "rolled back",
    "archived",
    "canary started",
    "canary changed",
    "canary ended",
    "aliases failed",
    "aliases mended",
]


class StageEvent(BaseModel):
    """One move of a version from stage to stage, or what went wrong beside it.

    Attributes:
        action: what happened. ``canary …`` is about a challenger's share of the traffic, ``aliases …`` about MLflow's
            registry; they move no stage.
        when: in UTC.
        who: the ZenML user.
        moved_from: the stage before.
        to: the stage afterwards.
        reason: in the words of whoever did it.
        override: why the gate was overruled; None if it was not.
        outcome: the gate's verdict on this version.
        verdict: artifact version of the verdict, as are ``report``, ``training_set`` and ``evaluation_set``.
        training_key: fingerprint of the config, data, base model and code that made the version.
        prompt: name of the prompt template.
        prompt_sha256: fingerprint of the prompt template.
        release: sequence number of the release that moved the traffic along, if one did.
        percent: a challenger's share of the traffic from then on.
        shadow: whether it shadows production with that share.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)  # a newer tuneline may have written more

    action: Action
    when: datetime = Field(default_factory=lambda: datetime.now(UTC))
    who: str
    moved_from: Stage
    to: Stage
    reason: str
    override: str | None = None
    outcome: Literal["PASS", "FAIL", "INCONCLUSIVE"]
    verdict: UUID | None = None
    report: UUID
    training_set: UUID | None = None
    evaluation_set: UUID | None = None
    training_key: str
    prompt: str
    prompt_sha256: str
    release: int | None = None
    percent: float | None = None
    shadow: bool = False

    @property
    def moves(self) -> bool:
        """Whether it is about the stage."""
        return not self.action.startswith(("canary", "aliases"))

    @property
    def key(self) -> str:
        """Its metadata key, in which ZenML allows no colon. In alphabetical order keys are in order of time."""
        what = self.action.replace(" ", "-") if self.release is None else f"release-{self.release}"
        return f"{PREFIX}{self.when.astimezone(UTC):%Y-%m-%dT%H%M%S.%fZ}.{what}"


def author() -> str:
    """Who acts: the ZenML user."""
    return Client().active_user.name


def overridden(outcome: str, override: str) -> str:
    """The reason of a release that overrules the gate. It begins so that it is recognized wherever it is read."""
    return f"{_overruled(outcome)}{override}"


def _overruled(outcome: str) -> str:
    return f"the gate's {outcome} is overridden: "


def event(version: Version, action: Action, to: Stage, reason: str, release: Release | None = None) -> StageEvent:
    """An event of a version as it is now.

    Args:
        release: the release that moves the traffic; when, who and override are taken from it, so that the event is
            the same whoever writes it.
    """
    record = version.record
    prompt = record.adapter.prompt
    moment: dict[str, Any] = {"moved_from": version.stage, "who": author()}
    if release is not None:
        moment |= {"when": release.created_at, "who": release.author, "release": release.sequence}
        if reason.startswith(overruled := _overruled(record.outcome)):
            moment["override"] = reason.removeprefix(overruled)
        if action.startswith("canary"):
            moment |= {"percent": release.routes.percent, "shadow": release.routes.shadow}
    if version.stage == to and version.events:  # written late, by whoever completes an interrupted command
        moment["moved_from"] = version.written_stage
    return StageEvent(
        action=action,
        to=to,
        reason=reason,
        outcome=record.outcome,
        verdict=record.verdict,
        report=record.report,
        training_set=record.training_set,
        evaluation_set=record.evaluation_set,
        training_key=record.training_key,
        prompt=prompt.name,
        prompt_sha256=hashlib.sha256(prompt.model_dump_json().encode()).hexdigest(),
        **moment,
    )


def write(version: UUID, *events: StageEvent) -> None:
    """Write events onto a version. One that is there already is written over by itself."""
    resource = RunMetadataResource(id=version, type=MetadataResourceTypes.MODEL_VERSION)
    Client().create_run_metadata({entry.key: entry.model_dump(mode="json") for entry in events}, [resource])


def events_in(metadata: Mapping[str, Any]) -> tuple[StageEvent, ...]:
    """The events among a version's metadata, oldest first."""
    return tuple(StageEvent.model_validate(metadata[key]) for key in sorted(metadata) if key.startswith(PREFIX))


def history(version: Version) -> list[StageEvent]:
    """What happened to a version, oldest first, read anew."""
    return list(events_in(Client().get_model_version(version.model, version.id).run_metadata))


def override_in(events: Iterable[StageEvent]) -> StageEvent | None:
    """The last event that overruled the gate, which is shown for as long as the version exists."""
    return next((entry for entry in reversed(tuple(events)) if entry.override), None)
