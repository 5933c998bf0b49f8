"""Rollback: traffic and the production stage back to any version that had them before."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.canary import end_canary
from controlplane.challenger import canary_of
from controlplane.follow import answering
from controlplane.releases import in_production, put_in_production
from controlplane.storage import Storage
from controlplane.versions import Version, find_version, get_version, list_versions
from tuneline.errors import UserError
from tuneline.release.document import Release
from tuneline.release.store import ReleaseStore


def rollback(model: str, storage: Storage, to: str | None, reason: str) -> tuple[Version, Release]:
    """Send all traffic and the production stage back to a version that had them before.

    While a canary runs, the last thing that changed is the canary: it is ended, and production, which has not changed,
    has all traffic again. With ``to`` both happen, unless that is the version in production.

    Reads no more releases than it needs, newest first, and asks ZenML for single versions: with a thousand of either
    it takes as long as with three.

    Args:
        to: the version; None ends a canary, and without one takes the version in production before the current one.

    Raises:
        UserError: there is nothing to go back to, or the version never was in production.
        ReleaseConflict: somebody else released in between. Nothing was changed.
    """
    store = storage.releases(model)
    current = store.current()
    if current is not None and canary_of(current) and to in (None, answering(current)):
        return get_version(model, answering(current) or ""), end_canary(model, storage, reason)
    served = _served(store)
    last = next(served, None)
    if current is None or last is None:
        raise UserError(f"{model!r} has never had a version in production", hint="`python run.py` makes the first one.")
    champion = in_production(model)
    if to is None and champion is not None and champion.name != last:
        # Which of the two an interrupted command was on its way to, only its user knows.
        raise UserError(
            f"version {last} has the traffic but version {champion.name} the production stage: "
            "a command was interrupted",
            hint=f"Say where to go: `python run.py rollback --to {last}` or `--to {champion.name}`.",
        )
    proving = current.trial is not None  # ended by going back to production, which may have made way for its engine
    if to is not None and to == answering(current) and champion is not None and champion.name == to and not proving:
        raise UserError(f"version {to} is in production already")
    target = _before(model, last, served) if to is None else _named(model, last, to)
    return target, put_in_production(target, storage, reason, seen=current.sequence, back=True)


def _served(store: ReleaseStore) -> Iterator[str]:
    """The versions that have had the traffic, the last one first, each once."""
    found: set[str] = set()
    for sequence in reversed(store.sequences()):
        name = answering(store.read(sequence))
        if name is not None and name not in found:
            found.add(name)
            yield name


def _before(model: str, last: str, served: Iterator[str]) -> Version:
    """The version in production before the last one; a release whose stage could not be moved does not count."""
    for name in served:
        version = find_version(model, name)
        if version is not None and version.was_in_production:
            return version
    raise UserError(f"version {last} is the only one {model!r} has ever served: there is nothing to go back to")


def _named(model: str, last: str, name: str) -> Version:
    version = find_version(model, name)
    if version is not None and (version.was_in_production or name == last):
        return version
    earlier = [known.name for known in list_versions(model) if known.was_in_production and known.name != last]
    raise UserError(
        f"version {name} of {model!r} was never in production (earlier ones: {', '.join(earlier) or 'none'})",
        hint=f"To put it there for the first time: `python run.py promote {name}`.",
    )
