"""The gateway's settings and a canary's bounds: when the config has others than the release, one more release."""

from __future__ import annotations

from pydantic import BaseModel

from controlplane.challenger import canary_of
from controlplane.history import author
from controlplane.storage import Storage
from tuneline.release.document import CanaryBounds, Release
from tuneline.release.gateway import GatewayArguments


def follow_settings(model: str, storage: Storage, gateway: GatewayArguments, bounds: CanaryBounds) -> Release | None:
    """Release the settings if they differ from the current release's. Traffic and engine stay as they are.

    Args:
        bounds: of the canary, if one is running.

    Returns:
        The release, whose reason says what changed; None if nothing did.

    Raises:
        ReleaseConflict: somebody else released at the same moment.
    """
    store = storage.releases(model)
    current = store.current()
    if current is None or current.routes.production is None:
        return None
    routes, changes = current.routes, _changes(current.gateway, gateway)
    if canary_of(current) is not None:
        changes += [f"canary.{change}" for change in _changes(routes.bounds, bounds)]
        routes = routes.model_copy(update={"bounds": bounds})
    if not changes:
        return None
    document = dict(current) | {
        "sequence": current.sequence + 1,
        "gateway": gateway,
        "routes": routes,
        "author": author(),
        "reason": f"gateway settings changed: {', '.join(changes)}",
    }
    del document["created_at"]
    release = Release(**document)
    store.create(release)
    return release


def _changes(before: BaseModel, after: BaseModel) -> list[str]:
    return [f"{key} {_shown(old)} → {_shown(new)}" for key, old in before if (new := getattr(after, key)) != old]


def _shown(value: object) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
