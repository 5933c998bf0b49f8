"""MLflow's model registry, made equal to ZenML's stages: the same versions, aliases ``staging`` and ``production``.

It follows and never leads: what goes wrong here stops no promotion, is told in one line, stands in the version's
history, and is mended by the next command. The registry is that of the stack's experiment tracker, as ZenML's own
MLflow registry flavor takes it; a component of that flavor would add nothing here but its own alias, ``champion``.
MLflow takes two seconds to import, so nothing of it is imported before traffic has moved.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from zenml.enums import StackComponentType

from controlplane.history import Action, event, write
from controlplane.versions import Version, list_versions
from stacks.active import active_component

if TYPE_CHECKING:
    from mlflow import MlflowClient

ALIASES = ("staging", "production")
# MLflow's own patience with a server that does not answer is a quarter of an hour.
_IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


def follow_stages(model: str) -> str | None:
    """Let MLflow's registry follow, whatever becomes of it.

    Returns:
        What went wrong, in a line for people; None if nothing did, or the stack has no MLflow. It stands in the
        history of the version in question as well.
    """
    versions = list_versions(model)
    if not versions:
        return None
    try:
        sync_aliases(model, versions)
    except Exception as error:  # noqa: BLE001 - whatever it is, traffic has moved and stays where it is
        problem = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        _note(_subject(versions), "aliases failed", problem)
        return f"MLflow's registry does not follow yet: {problem}. The next command that looks at it mends it."
    if behind(versions):
        _note(_subject(versions), "aliases mended", "MLflow's registry is the same as the stages again")
    return None


def behind(versions: Sequence[Version]) -> bool:
    """Whether MLflow's registry could not follow last time."""
    notes = [entry for version in versions for entry in version.events if entry.action.startswith("aliases")]
    return bool(notes) and max(notes, key=lambda entry: entry.when).action == "aliases failed"


def sync_aliases(model: str, versions: Sequence[Version] | None = None) -> bool:
    """Make MLflow's registered model equal to the stages: missing versions, tags, aliases. Twice is the same as once.

    Args:
        model: the model's name in both registries.
        versions: all of its versions, if they were read already.

    Returns:
        Whether the stack has an MLflow.

    Raises:
        mlflow.exceptions.MlflowException: it cannot be reached, or refuses.
    """
    tracker: Any = active_component(StackComponentType.EXPERIMENT_TRACKER)
    if tracker is None or tracker.flavor != "mlflow":
        return False
    with impatient():
        tracker.configure_mlflow()
        from mlflow import MlflowClient

        client = MlflowClient()
        wanted = list_versions(model) if versions is None else versions
        numbers = _registered(client, model, wanted, remote=tracker.get_tracking_uri().startswith("http"))
        held = {alias: str(number) for alias, number in client.get_registered_model(model).aliases.items()}
        for alias in ALIASES:
            holder = next((numbers[version.name] for version in wanted if version.stage == alias), None)
            if holder is None and alias in held:
                client.delete_registered_model_alias(model, alias)
            elif holder is not None and held.get(alias) != holder:
                client.set_registered_model_alias(model, alias, holder)  # takes it from whoever has it
    return True


def _registered(client: MlflowClient, model: str, versions: Sequence[Version], *, remote: bool) -> dict[str, str]:
    """MLflow's version number of each version; its numbers need not be ZenML's, so a tag says which is which."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(model, description=f"The adapters behind the endpoint {model!r}.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    there = {found.tags.get("tuneline.version"): found for found in client.search_model_versions(f"name='{model}'")}
    numbers: dict[str, str] = {}
    for version in versions:
        found, tags = there.get(version.name), _tags(version)
        if found is None:
            uri = version.record.adapter.uri
            # A server refuses a path, which would be one of its own; a store on this machine is not within its reach.
            source = f"tuneline:{uri}" if remote and "://" not in uri else uri
            found = client.create_model_version(model, source, tags=tags)
        else:
            for key, value in tags.items():
                if found.tags.get(key) != value:
                    client.set_model_version_tag(model, found.version, key, value)
        numbers[version.name] = str(found.version)
    return numbers


def _tags(version: Version) -> dict[str, str]:
    tags = {
        "tuneline.version": version.name,
        "tuneline.verdict": version.record.outcome,
        "tuneline.adapter_sha256": version.record.adapter.sha256,
        "tuneline.stage": version.stage,
    }
    if version.record.whole_model is not None:
        tags["tuneline.whole_model_sha256"] = version.record.whole_model.sha256 or ""
    return tags | ({"tuneline.override": version.override.override or ""} if version.override else {})


def _subject(versions: Sequence[Version]) -> Version:
    """The version whose history says how MLflow fared: the one in production, else the newest."""
    return next((version for version in versions if version.stage == "production"), versions[-1])


def _note(version: Version, action: Action, reason: str) -> None:
    write(version.id, event(version, action, version.stage, reason))


@contextmanager
def impatient() -> Iterator[None]:
    """Let MLflow give up after two tries of ten seconds, where it may be away and something else must go on."""
    before = {name: os.environ.get(name) for name in _IMPATIENT}
    os.environ |= {name: before[name] or value for name, value in _IMPATIENT.items()}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
