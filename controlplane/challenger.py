"""What follows a canary: the tag ``challenger``, and what the challenger's history says of it.

A canary moves no stage: the challenger stays where it was, usually in staging. The release alone says that it runs, and
a gateway that ends one writes nothing but a release, so history and tag are written afterwards, from the releases.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Literal

from zenml.client import Client
from zenml.models import ModelVersionUpdate

from controlplane.history import StageEvent, event, write
from controlplane.storage import Storage
from controlplane.versions import Version, find_version, list_versions
from tuneline.release.document import Release
from tuneline.release.store import ReleaseStore

TAG = "challenger"
CanaryAction = Literal["canary started", "canary changed", "canary ended"]


def canary_of(release: Release | None) -> str | None:
    """The version that gets a share beside production, or shadows it; None for one that is only being proven."""
    if release is None or release.routes.production is None or not release.routes.percent:
        return None
    return release.adapters[release.routes.challenger or ""].model_version


def aborted(version: Version) -> StageEvent | None:
    """How the endpoint's gateway ended this version's last canary; None if it did not."""
    last = next((entry for entry in reversed(version.events) if entry.action.startswith("canary")), None)
    gateway = f"gateway of {version.model}"  # the author of the releases that it writes
    return last if last is not None and (last.action, last.who) == ("canary ended", gateway) else None


def follow_challenger(model: str, storage: Storage) -> list[Version]:
    """Write down what became of canaries since the last release that stands in a history. Twice is the same as once.

    Returns:
        All versions of the model, as they are then.
    """
    versions = list_versions(model)
    written = {entry.release for version in versions for entry in version.events}
    moved = [write_canary(before, after) for before, after in _since(storage.releases(model), written)]
    return list_versions(model) if any(moved) else versions


def write_canary(before: Release | None, after: Release) -> bool:
    """Write down what a release did to a canary, and tag the challenger while it is one.

    Args:
        before: the release that it follows; None for the first.

    Returns:
        Whether it did anything.
    """
    actions = list(_actions(before, after))
    for name, action in actions:
        version = find_version(after.endpoint, name)
        if version is None:  # deleted meanwhile
            continue
        _tag(version, challenger=action != "canary ended")
        if action != "canary ended" or name != _answering(after):  # else it was promoted, and that is written down
            write(version.id, event(version, action, version.stage, after.reason, after))
    return bool(actions)


def _actions(before: Release | None, after: Release) -> Iterator[tuple[str, CanaryAction]]:
    was, now = canary_of(before), canary_of(after)
    if was is not None and was != now:
        yield was, "canary ended"
    if now is not None and now != was:
        yield now, "canary started"
    elif now is not None and before is not None and _share(before) != _share(after):
        yield now, "canary changed"


def _share(release: Release) -> tuple[float, bool]:
    return release.routes.percent, release.routes.shadow


def _answering(release: Release) -> str | None:
    name = release.routes.production
    return release.adapters[name].model_version if name else None


def _since(store: ReleaseStore, written: set[int | None]) -> list[tuple[Release | None, Release]]:
    """The releases after the last one that is in ``written``, oldest first, each with the one before it."""
    found: list[Release] = []
    for sequence in reversed(store.sequences()):
        found.append(store.read(sequence))
        if sequence in written:
            break
    found.reverse()
    if found and found[0].sequence not in written:
        return list(zip([None, *found], found, strict=False))
    return list(itertools.pairwise(found))


def _tag(version: Version, *, challenger: bool) -> None:
    if challenger == (TAG in version.tags):
        return
    change = ModelVersionUpdate(add_tags=[TAG]) if challenger else ModelVersionUpdate(remove_tags=[TAG])
    Client().zen_store.update_model_version(version.id, change)
