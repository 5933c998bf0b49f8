"""Writing releases: canary, promotion and rollback are each one new file, and a stage that follows it.

The file is the lock: it is created exclusively, under the number after the release that the writer decided upon. Of two
who promote at once one creates it; the other is told, and has changed nothing. Stage, history and MLflow's aliases
follow whatever release is current.
"""

from __future__ import annotations

from contextlib import suppress

from controlplane.beside import check_beside, check_no_other, holds, same_engine, trial_of
from controlplane.challenger import canary_of, write_canary
from controlplane.follow import follow_release, write_history
from controlplane.history import author, overridden
from controlplane.storage import Storage
from controlplane.versions import Version, at_stage
from tuneline.errors import TunelineError
from tuneline.release.document import AdapterRef, Release, Routes
from tuneline.release.gateway import GatewayArguments
from tuneline.release.store import ReleaseConflict, ReleaseStore


def prove(
    version: Version, storage: Storage, gateway: GatewayArguments | None = None, *, beside: bool = False
) -> Release:
    """Release a version beside what is in production, without any traffic, so that it can be proven.

    Run again after an interruption it finds its own release and writes none. Another base model (a whole model is one)
    or other engine arguments mean another engine: then production goes on in its own, and the version is on trial in
    one beside it.

    Args:
        gateway: the gateway's settings; None keeps the current release's.
        beside: it is to be a challenger, so production has to stay loaded.

    Raises:
        UserError: a canary of another version runs, or it has to stand beside production and cannot.
    """

    def make(sequence: int, current: Release | None) -> Release:
        if beside:
            check_beside(version, current)
        check_no_other(version.name, current)
        adapters = {version.adapter_name: version.record.adapter}
        production = current.routes.production if current else None
        settings, reason = gateway or _settings(current), f"prove version {version.name}"
        if current and production:
            adapters[production] = current.adapters[production]
            if not same_engine(current, version):
                return _on_trial(version, current, settings, reason)
        routes = Routes(production=production, challenger=version.adapter_name)
        return _next(version, sequence, adapters, routes, settings, reason)

    current = storage.releases(version.model).current()
    if current is not None and (holds(current, version) or current.trial == trial_of(version)):
        return current
    return storage.releases(version.model).append(make)


def put_in_production(
    version: Version,
    storage: Storage,
    reason: str,
    *,
    seen: int | None = None,
    gateway: GatewayArguments | None = None,
    override: str | None = None,
    back: bool = False,
) -> Release:
    """Give a version all traffic and the production stage, or neither.

    The version that had them stays loaded, so that going back takes no load.

    Args:
        seen: sequence number of the release on which the decision was made; None takes the current one.
        gateway: the gateway's settings; None keeps the current release's.
        override: why a version that did not pass the gate gets them all the same.
        back: whether this is a rollback, which needs no verdict: the version has been there before.

    Raises:
        ReleaseConflict: somebody else released in between. Nothing was changed.
        TunelineError: the version did not pass the gate.
    """
    if version.record.outcome != "PASS" and not (override or back or version.stage == "production"):
        raise TunelineError(f"version {version.name} is not put in production: the gate says {version.record.outcome}")
    store = storage.releases(version.model)
    before = store.current()
    if seen is not None and (before is None or before.sequence != seen):
        raise overtaken(version.name, before)
    routes = Routes(production=version.adapter_name)
    if before is not None and canary_of(before) and before.routes.production == version.adapter_name and not back:
        routes = before.routes  # it was proven again: its canary goes on
    settings = gateway or _settings(before)
    if before is not None and holds(before, version) and _same(before, routes, settings):
        release = before  # an interrupted run got this far
    else:
        if override:
            reason = overridden(version.record.outcome, override)
        adapters = {version.adapter_name: version.record.adapter}
        production = before.routes.production if before else None
        if before and production and same_engine(before, version):
            adapters[production] = before.adapters[production]
        if before and routes.challenger:
            adapters[routes.challenger] = before.adapters[routes.challenger]
        release = _next(version, before.sequence + 1 if before else 1, adapters, routes, settings, reason)
        store.create(release)
    try:
        former = at_stage(version.model, "production")
        follow_release(version, release, store)
    except BaseException:
        if before is not None and release is not before:
            _restore(store, before, release)
        raise
    # From here on it stands. If this fails, `deploy` writes it later: see `settle`.
    if release is not before:
        write_canary(before, release)
    write_history(version, release, former, "rolled back" if back else "promoted")
    return release


def check_current(version: str, store: ReleaseStore, sequence: int) -> None:
    """See that the release under which a version is being proven is still the current one.

    Raises:
        ReleaseConflict: somebody else has released since.
    """
    current = store.current()
    if current is None or current.sequence != sequence:
        raise overtaken(version, current)


def overtaken(version: str, current: Release | None) -> ReleaseConflict:
    """What the slower of two is told."""
    theirs = "the releases are gone"
    if current is not None:
        theirs = f"{current.author} wrote release {current.sequence} meanwhile ({current.reason})"
    return ReleaseConflict(
        f"version {version} got no traffic: {theirs}",
        hint="Your command changed neither stage nor traffic. `python run.py models` shows how things stand; "
        "if you still want it, run the command again.",
    )


def withdraw(version: Version, storage: Storage, reason: str) -> None:
    """Take a version that could not be proven out of the release; production stays as it is, with its own engine.

    Raises:
        ReleaseConflict: somebody else released at the same moment.
    """
    store = storage.releases(version.model)
    current = store.current()
    if current is None or (current.routes.challenger != version.adapter_name and current.trial != trial_of(version)):
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
                "trial": None,
                "gateway": current.gateway,
                "author": author(),
                "reason": reason,
            }
        )
    )


def in_production(model: str) -> Version | None:
    """The champion: the version at the production stage."""
    return at_stage(model, "production")


def _same(before: Release, routes: Routes, gateway: GatewayArguments) -> bool:
    return (before.routes, before.gateway, before.trial) == (routes, gateway, None)


def _settings(current: Release | None) -> GatewayArguments:
    return current.gateway if current is not None else GatewayArguments()


def _next(
    version: Version,
    sequence: int,
    adapters: dict[str, AdapterRef],
    routes: Routes,
    gateway: GatewayArguments,
    reason: str,
) -> Release:
    return Release(
        endpoint=version.model,
        sequence=sequence,
        base=version.record.served_base,
        engine=version.record.engine,
        gateway=gateway,
        adapters=adapters,
        routes=routes,
        author=author(),
        reason=reason,
    )


def _on_trial(version: Version, current: Release, gateway: GatewayArguments, reason: str) -> Release:
    """Production alone, as it is, and the version in another engine."""
    production = current.routes.production or ""
    return Release(
        endpoint=version.model,
        sequence=current.sequence + 1,
        base=current.base,
        engine=current.engine,
        gateway=gateway,
        adapters={production: current.adapters[production]},
        routes=Routes(production=production),
        trial=trial_of(version),
        author=author(),
        reason=reason,
    )


def _restore(store: ReleaseStore, before: Release, failed: Release) -> None:
    restored = before.model_copy(
        update={
            "sequence": failed.sequence + 1,
            "gateway": failed.gateway,
            "author": author(),
            "reason": "stage could not be moved: restored",
        }
    )
    # Whoever has released since then meant to: that stands, and the caller hears of the stage.
    with suppress(ReleaseConflict):
        store.create(restored)
