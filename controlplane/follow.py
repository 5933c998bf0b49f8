"""What follows a release: the production stage, and the history of the versions that it moved."""

from __future__ import annotations

from controlplane.challenger import follow_challenger
from controlplane.history import Action, event, write
from controlplane.storage import Storage
from controlplane.versions import Version, get_version, set_stage
from tuneline.release.document import Release
from tuneline.release.store import ReleaseStore


def answering(release: Release) -> str | None:
    """The model version that a release gives the traffic to, None if it only proves one."""
    name = release.routes.production
    return release.adapters[name].model_version if name else None


def follow_release(version: Version, release: Release, store: ReleaseStore) -> None:
    """Give the production stage to the version that the current release names; whoever has it is archived.

    Looked at again afterwards: of two who release one after the other and set the stage in the other order, the later
    would have the traffic and the earlier the stage.

    Args:
        version: the one that ``release`` gives the traffic to.
        release: the one that was current just now.
    """
    while True:
        set_stage(version, "production")
        current = store.current()
        if current is None or current.sequence == release.sequence:
            return
        release = current
        name = answering(current)
        if name is not None and name != version.name:
            version = get_version(version.model, name)


def write_history(version: Version, release: Release, former: Version | None, action: Action) -> None:
    """Write down that a release moved a version into production, and another one out. Twice is the same as once.

    Args:
        version: as it was before the move, or as an interrupted command left it.
        release: the one that gave it the traffic.
        former: who had the production stage.
        action: ``promoted`` or ``rolled back``.
    """
    if version.stage == "production" and version.written_stage == "production":
        return
    write(version.id, event(version, action, "production", release.reason, release))
    if former is not None and former.id != version.id:
        reason = f"version {version.name} was {action}: {release.reason}"
        write(former.id, event(former, "archived", "archived", reason, release))


def settle(model: str, storage: Storage) -> None:
    """Complete what an interrupted command or a gateway left: stage and history catch up with the current release.

    Args:
        model: the model, whose name is the endpoint's.
        storage: where its releases are.
    """
    store = storage.releases(model)
    current = store.current()
    name = answering(current) if current else None
    versions = {version.name: version for version in follow_challenger(model, storage)}
    version = versions.get(name) if name else None
    if current is None or version is None or version.stage == version.written_stage == "production":
        return
    others = [other for other in versions.values() if other.id != version.id]
    former = next((other for other in others if other.stage == "production"), None)
    if version.stage != "production":
        follow_release(version, current, store)
    else:  # killed between stage and history: the one that made way is archived, and its events do not know it
        made_way = (other for other in others if (other.stage, other.written_stage) == ("archived", "production"))
        former = next(made_way, None)
    release = _that_moved(version, current, store)
    write_history(version, release, former, "rolled back" if version.was_in_production else "promoted")


def _that_moved(version: Version, current: Release, store: ReleaseStore) -> Release:
    """The release that gave a version the traffic: the first of the last ones in which it has it."""
    moved = current
    for sequence in reversed(store.sequences()):
        release = store.read(sequence)
        if answering(release) not in (version.name, None):
            break
        moved = release if answering(release) else moved
    return moved
