"""Writing releases: canary, promotion and rollback are each one new file, and a stage that follows it."""

from __future__ import annotations

from contextlib import suppress

from zenml.client import Client

from controlplane.storage import Storage
from controlplane.versions import Version, at_stage, get_version, list_versions, set_stage
from tuneline.errors import UserError
from tuneline.release.document import AdapterRef, Release, Routes
from tuneline.release.store import ReleaseConflict


def author() -> str:
    """Who writes: the ZenML user."""
    return Client().active_user.name


def prove(version: Version, storage: Storage) -> Release:
    """Release a version beside what is in production, without any traffic, so that it can be proven.

    Run again after an interruption it finds its own release and writes none.
    """

    def make(sequence: int, current: Release | None) -> Release:
        adapters = {version.adapter_name: version.record.adapter}
        production = None
        # Another base model or other engine arguments mean another engine, which the version in
        # production was not judged for: it cannot answer beside this one.
        if current and current.routes.production and _same_engine(current, version):
            production = current.routes.production
            adapters[production] = current.adapters[production]
        routes = Routes(production=production, challenger=version.adapter_name)
        return _next(version, sequence, adapters, routes, f"prove version {version.name}")

    current = storage.releases(version.model).current()
    if current is not None and _holds(current, version):
        return current
    return storage.releases(version.model).append(make)


def put_in_production(version: Version, storage: Storage, reason: str) -> Release:
    """Give a version all traffic and the production stage, or neither.

    The version that had them stays loaded, so that going back takes no load.

    Raises:
        ReleaseConflict: somebody else released at the same moment.
    """
    store = storage.releases(version.model)
    before = store.current()

    def make(sequence: int, current: Release | None) -> Release:
        adapters = {version.adapter_name: version.record.adapter}
        production = current.routes.production if current else None
        if current and production and _same_engine(current, version):
            adapters[production] = current.adapters[production]
        return _next(version, sequence, adapters, Routes(production=version.adapter_name), reason)

    if before is not None and _holds(before, version) and before.routes == Routes(production=version.adapter_name):
        release = before  # an interrupted run got this far
    else:
        release = store.append(make)
    if version.stage != "production":
        try:
            set_stage(version, "production")
        except BaseException:
            if before is not None and release is not before:
                _restore(storage, before, release.sequence + 1)
            raise
    return release


def withdraw(version: Version, storage: Storage, reason: str) -> None:
    """Take a version that could not be proven out of the release; production stays as it is.

    A version that needed another engine was released without production beside it: then production,
    with its own engine, comes back.

    Raises:
        ReleaseConflict: somebody else released at the same moment.
    """
    store = storage.releases(version.model)
    current = store.current()
    if current is None or current.routes.challenger != version.adapter_name:
        return
    last = next((release for release in reversed(store.history()) if release.routes.production), None)
    if last is None or last.routes.production is None:
        return  # the first version of all: nothing would be left to serve
    production = last.routes.production
    store.create(
        last.model_copy(
            update={
                "sequence": current.sequence + 1,
                "adapters": {production: last.adapters[production]},
                "routes": Routes(production=production),
                "author": author(),
                "reason": reason,
            }
        )
    )


def rollback(model: str, storage: Storage, to: str | None, reason: str) -> tuple[Version, Release]:
    """Send all traffic and the production stage back to a version that had them before.

    Args:
        to: the version; None takes the one in production before the current one.

    Raises:
        UserError: there is nothing to go back to, or the version never was in production.
    """
    history = storage.releases(model).history()
    served = [r.adapters[r.routes.production].model_version for r in history if r.routes.production]
    if not served:
        raise UserError(f"{model!r} has never had a version in production", hint="`python run.py` makes the first one.")
    earlier = list(dict.fromkeys(name for name in reversed(served) if name != served[-1]))
    known = {version.name for version in list_versions(model)}
    earlier = [name for name in earlier if name in known]
    staged = in_production(model)
    if to is None and staged is not None and staged.name != served[-1]:
        # Which of the two an interrupted command was on its way to, only its user knows.
        raise UserError(
            f"version {served[-1]} has the traffic but version {staged.name} the production stage: "
            "a command was interrupted",
            hint=f"Say where to go: `python run.py rollback --to {served[-1]}` or `--to {staged.name}`.",
        )
    if to is None and not earlier:
        raise UserError(
            f"version {served[-1]} is the only one {model!r} has ever served: there is nothing to go back to"
        )
    target = to or earlier[0]
    answering = history[-1].routes.production
    answers = answering is not None and history[-1].adapters[answering].model_version == target
    if answers and staged is not None and staged.name == target:
        raise UserError(f"version {target} is in production already")
    if target not in earlier and target != served[-1]:
        raise UserError(
            f"version {target} of {model!r} was never in production (earlier ones: {', '.join(earlier) or 'none'})",
            hint=f"To put it there for the first time: `python run.py promote {target}`.",
        )
    version = get_version(model, target)
    return version, put_in_production(version, storage, reason)


def in_production(model: str) -> Version | None:
    """The champion: the version at the production stage."""
    return at_stage(model, "production")


def _next(version: Version, sequence: int, adapters: dict[str, AdapterRef], routes: Routes, reason: str) -> Release:
    return Release(
        endpoint=version.model,
        sequence=sequence,
        base=version.record.base,
        engine=version.record.engine,
        adapters=adapters,
        routes=routes,
        author=author(),
        reason=reason,
    )


def _holds(release: Release, version: Version) -> bool:
    return release.adapters.get(version.adapter_name) == version.record.adapter and _same_engine(release, version)


def _same_engine(release: Release, version: Version) -> bool:
    return release.base == version.record.base and release.engine == version.record.engine


def _restore(storage: Storage, before: Release, sequence: int) -> None:
    restored = before.model_copy(
        update={"sequence": sequence, "author": author(), "reason": "stage could not be moved: restored"}
    )
    # Whoever has released since then meant to: that stands, and the caller hears of the stage.
    with suppress(ReleaseConflict):
        storage.releases(before.endpoint).create(restored)
