"""A canary: a second version gets a share of the traffic, or shadows production, from the same engine.

Like everything that moves traffic it is one more release. It moves no stage: the gateway compares both versions all the
time, and may end it by a release of its own; a person completes it (``promote``) or ends it.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from controlplane.beside import check_beside, holds
from controlplane.challenger import canary_of, write_canary
from controlplane.history import author, overridden
from controlplane.releases import overtaken
from controlplane.storage import Storage
from controlplane.versions import Version
from tuneline.errors import TunelineError, UserError
from tuneline.release.document import CanaryBounds, Release, Routes
from tuneline.release.gateway import GatewayArguments


class Share(BaseModel):
    """What a challenger gets.

    Attributes:
        percent: of the traffic that is not pinned to a version.
        shadow: it answers beside production, and nobody sees it.
        bounds: when the gateway ends the canary by itself.
    """

    model_config = ConfigDict(frozen=True)

    percent: float = Field(gt=0, le=100)
    shadow: bool = False
    bounds: CanaryBounds = CanaryBounds()

    def __str__(self) -> str:
        return f"{self.percent:g} %{', as a shadow' if self.shadow else ''}"


def share_of(release: Release) -> Share:
    """What the challenger of a running canary gets."""
    routes = release.routes
    return Share(percent=routes.percent, shadow=routes.shadow, bounds=routes.bounds)


def give_share(
    version: Version,
    storage: Storage,
    share: Share,
    reason: str,
    *,
    seen: int,
    gateway: GatewayArguments,
    override: str | None = None,
) -> Release:
    """Make a version the challenger that gets a share; production goes on.

    Args:
        seen: sequence number of the release under which it was proven.
        override: why a version that did not pass the gate gets it all the same.

    Raises:
        ReleaseConflict: somebody else released in between. Nothing was changed.
        TunelineError: it did not pass the gate, or cannot be compared with production.
    """
    if version.record.outcome != "PASS" and not override:
        raise TunelineError(f"version {version.name} gets no traffic: the gate says {version.record.outcome}")
    store = storage.releases(version.model)
    before = store.current()
    if before is None or before.sequence != seen:
        raise overtaken(version.name, before)
    check_beside(version, before)
    assert before.routes.production is not None and holds(before, version), "it was proven under this release"
    production = before.routes.production
    routes = Routes(production=production, challenger=version.adapter_name, **share.model_dump())
    if before.routes == routes and before.gateway == gateway:
        return before  # an interrupted run got this far
    return _write(
        storage,
        before,
        routes=routes,
        gateway=gateway,
        adapters={name: before.adapters[name] for name in (production, version.adapter_name)},
        reason=overridden(version.record.outcome, override) if override else reason,
    )


def change_share(model: str, storage: Storage, share: Share, reason: str, gateway: GatewayArguments) -> Release | None:
    """Give the challenger of the running canary another share; it is proven already.

    Returns:
        The release; None if it has that share.

    Raises:
        UserError: no canary runs.
        ReleaseConflict: somebody else released at the same moment.
    """
    current = running_canary(model, storage)
    routes = current.routes.model_copy(update=dict(share))
    if (routes, gateway) == (current.routes, current.gateway):
        return None
    return _write(storage, current, routes=routes, gateway=gateway, reason=reason)


def end_canary(model: str, storage: Storage, reason: str) -> Release:
    """Take the challenger's traffic away; production goes on and has all of it.

    Raises:
        UserError: no canary runs.
        ReleaseConflict: somebody else released at the same moment, perhaps the gateway.
    """
    current = running_canary(model, storage)
    production = current.routes.production or ""
    adapters = {production: current.adapters[production]}
    return _write(storage, current, routes=Routes(production=production), adapters=adapters, reason=reason)


def running_canary(model: str, storage: Storage) -> Release:
    """The release of the canary that runs.

    Raises:
        UserError: none does.
    """
    current = storage.releases(model).current()
    if current is None or canary_of(current) is None:
        raise UserError(
            f"no canary of {model!r} is running",
            hint="Begin one: `python run.py canary VERSION --percent 10`. `python run.py models` lists the versions.",
        )
    return current


def _write(storage: Storage, before: Release, **changed: object) -> Release:
    document = dict(before) | changed | {"sequence": before.sequence + 1, "author": author()}
    del document["created_at"]
    release = Release(**document)
    storage.releases(before.endpoint).create(release)
    write_canary(before, release)
    return release
