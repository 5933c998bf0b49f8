"""What may stand beside what in one release: versions of one base model and one engine, and one canary at a time."""

from __future__ import annotations

from controlplane.challenger import canary_of
from controlplane.versions import Version
from tuneline.errors import UserError
from tuneline.release.document import Release, Trial


def same_engine(release: Release, version: Version) -> bool:
    """Whether a version can be loaded into a release's engine."""
    return release.base == version.record.served_base and release.engine == version.record.engine


def holds(release: Release, version: Version) -> bool:
    """Whether a release has a version loaded in production's engine."""
    return release.adapters.get(version.adapter_name) == version.record.adapter and same_engine(release, version)


def trial_of(version: Version) -> Trial:
    """The version in an engine of its own, beside production's."""
    record = version.record
    return Trial(base=record.served_base, engine=record.engine, adapter=record.adapter)


def check_beside(version: Version, current: Release | None) -> Release:
    """See that a version can be the challenger of what is in production.

    Returns:
        The current release.

    Raises:
        UserError: nothing is in production, it is there itself, another canary runs, or it needs another engine.
    """
    name = version.name
    if current is None or current.routes.production is None:
        raise UserError(
            f"no version of {version.model!r} is in production: there is nothing to compare version {name} with",
            hint=f"Put one there first: `python run.py deploy`, or `python run.py promote {name}`.",
        )
    production = current.adapters[current.routes.production].model_version
    if production == name:
        raise UserError(
            f"version {name} is in production: it cannot be its own challenger",
            hint="`python run.py models` lists the others.",
        )
    check_no_other(name, current)
    if not same_engine(current, version):
        kind = "" if version.record.whole_model is None else f"version {name} is a whole model, "
        raise UserError(
            f"version {name} cannot share the engine of version {production}, which is in production: "
            f"{kind}{_differences(current, version)}",
            hint=f"A canary has one engine for both. Without one: `python run.py promote {name}` starts another engine "
            f"in production's place. Or train it again with version {production}'s base model and engine.",
        )
    return current


def check_no_other(name: str, current: Release | None) -> None:
    """See that no canary of another version runs.

    Raises:
        UserError: one does.
    """
    running = canary_of(current)
    if current is not None and running is not None and running != name:
        share = f"{current.routes.percent:g} % of the traffic"
        raise UserError(
            f"a canary of version {running} is running ({share}): version {name} has to wait",
            hint=f"Complete it (`python run.py promote {running}`) or end it (`python run.py canary --off`) first.",
        )


def _differences(current: Release, version: Version) -> str:
    """In which base model and engine arguments they differ, the version's first."""
    record = version.record
    pairs = [
        ("base", record.served_base.model_dump(), current.base.model_dump()),
        ("engine", record.engine.model_dump(), current.engine.model_dump()),
    ]
    return ", ".join(
        f"{kind}.{key} is {mine[key]}, production's {theirs[key]}"
        for kind, mine, theirs in pairs
        for key in mine
        if mine[key] != theirs[key]
    )
