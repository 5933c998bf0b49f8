"""Stack files and what ZenML has registered: made equal, listed, chosen.

A stack file has the form of ``zenml stack export``. Applying it twice changes nothing the second time.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from zenml.client import Client
from zenml.constants import ENV_ZENML_ACTIVE_STACK_ID
from zenml.enums import StackComponentType
from zenml.models import ComponentResponse, FlavorUpdate, StackResponse
from zenml.stack.utils import validate_stack_component_config
from zenml.utils.pagination_utils import depaginate

from stacks.deployer.flavor import FLAVOR, BentoVLLMModelDeployerFlavor
from stacks.files import ComponentFile, read_stack_file, shown, stack_files
from tuneline.errors import UserError

_FLAVOR_SOURCE = f"{BentoVLLMModelDeployerFlavor.__module__}.{BentoVLLMModelDeployerFlavor.__qualname__}"


@dataclass(frozen=True)
class Change:
    """What applying a file did to one thing in ZenML.

    Attributes:
        kind: flavor, stack, or a component's type (``artifact_store`` ...).
        name: its name.
        outcome: created, updated or unchanged.
    """

    kind: str
    name: str
    outcome: Literal["created", "updated", "unchanged"]


@dataclass(frozen=True)
class StackApplied:
    """What applying a file did, in the order in which it was done."""

    stack: str
    changes: tuple[Change, ...]

    @property
    def changed(self) -> bool:
        """Whether anything was created or updated."""
        return any(change.outcome != "unchanged" for change in self.changes)


@dataclass(frozen=True)
class StackInfo:
    """A stack that can be chosen, or a file that can be applied.

    Attributes:
        name: the stack's name.
        registered: whether ZenML knows it.
        active: whether commands use it when no other is named.
        file: the file in ``stacks/`` that defines it, if there is one, relative to the repository.
        components: name and flavor of each component by type, e.g. ``{"artifact_store": "store (s3)"}``.
    """

    name: str
    registered: bool
    active: bool
    file: str | None
    components: dict[str, str]


def apply_stack(path: str | Path) -> StackApplied:
    """Make ZenML's stack and components what the file says.

    Components are found by their names. What is missing is created, what differs is updated, what the stack has
    and the file has not is taken out of the stack (the component itself stays).

    Args:
        path: a stack file, or the short name of one in ``stacks/``.

    Raises:
        UserError: the file is bad, or a component cannot be made as it says. No stack and no component was changed.
    """
    wanted = read_stack_file(path)
    entries = [(kind, entry) for kind, of_kind in wanted.components.items() for entry in of_kind]
    changes: list[Change] = []
    with _without_chosen_stack():
        if any(entry.flavor == FLAVOR for _, entry in entries):
            changes.append(_apply_flavor())
        configurations = [_checked(kind, entry, path) for kind, entry in entries]  # all of them before the first change
        components: dict[StackComponentType, list[UUID]] = {}
        for (kind, entry), configuration in zip(entries, configurations, strict=True):
            component, change = _apply_component(kind, entry, configuration)
            components.setdefault(kind, []).append(component)
            changes.append(change)
        updated = any(change.outcome == "updated" for change in changes)
        changes.append(_apply_stack(wanted.stack_name, components, touched=updated))
    return StackApplied(stack=wanted.stack_name, changes=tuple(changes))


def list_stacks() -> list[StackInfo]:
    """The registered stacks, then the stack files that were not applied yet."""
    files = {read_stack_file(file).stack_name: file for file in stack_files().values()}
    active = Client().active_stack_model.id
    registered = [
        StackInfo(
            name=stack.name,
            registered=True,
            active=stack.id == active,
            file=shown(files.get(stack.name)),
            components={
                kind.value: ", ".join(f"{entry.name} ({entry.flavor_name})" for entry in entries)
                for kind, entries in stack.components.items()
            },
        )
        for stack in depaginate(Client().list_stacks, hydrate=True)
    ]
    names = {stack.name for stack in registered}
    waiting = [
        StackInfo(
            name=name,
            registered=False,
            active=False,
            file=shown(file),
            components={
                kind.value: ", ".join(f"{entry.name} ({entry.flavor})" for entry in entries)
                for kind, entries in read_stack_file(file).components.items()
            },
        )
        for name, file in files.items()
        if name not in names
    ]
    return registered + waiting


def activate(name: str) -> StackInfo:
    """Use a registered stack in this process; the user's own choice in ZenML stays what it is.

    Args:
        name: the stack's name, or the short name of its file in ``stacks/`` (``local`` for ``tuneline-local``).

    Raises:
        UserError: there is no such stack; the message lists those there are. There is no fallback.
    """
    stacks = list_stacks()
    file = stack_files().get(name)
    names = {name} | ({read_stack_file(file).stack_name} if file else set())
    found = next((stack for stack in stacks if stack.name in names), None)
    if found is None or not found.registered:
        known = ", ".join(stack.name for stack in stacks if stack.registered)
        close = difflib.get_close_matches(name, [stack.name for stack in stacks] + list(stack_files()), n=1)
        if found:
            hint = f"Apply its file first: `python run.py stack apply {found.file}`."
        elif close:
            hint = f"Did you mean {close[0]!r}? `python run.py stack list` shows them all."
        else:
            hint = "`python run.py stack list` shows them all, and `python run.py stack apply FILE` adds one."
        raise UserError(f"there is no stack {name!r}; ZenML knows {known}", hint=hint)
    # By then ZenML has opened its store (the list above): while it opens one, it writes this variable down as the
    # user's choice. For the same reason it is not for child processes that use ZenML.
    os.environ[ENV_ZENML_ACTIVE_STACK_ID] = str(_find_stack(found.name).id)
    return StackInfo(found.name, True, True, found.file, found.components)


def _apply_flavor() -> Change:
    client = Client()
    try:
        found = client.get_flavor_by_name_and_type(FLAVOR, StackComponentType.MODEL_DEPLOYER)
    except KeyError:
        client.create_flavor(source=_FLAVOR_SOURCE, component_type=StackComponentType.MODEL_DEPLOYER)
        return Change("flavor", FLAVOR, "created")
    schema = BentoVLLMModelDeployerFlavor().config_schema
    if found.source == _FLAVOR_SOURCE and found.config_schema == schema:
        return Change("flavor", FLAVOR, "unchanged")
    client.zen_store.update_flavor(found.id, FlavorUpdate(source=_FLAVOR_SOURCE, config_schema=schema))
    return Change("flavor", FLAVOR, "updated")


def _checked(kind: StackComponentType, entry: ComponentFile, path: str | Path) -> dict[str, Any]:
    """A component's configuration as ZenML keeps it."""
    where = f"{path}: components.{kind.value}, {entry.name!r}"
    found = _find_component(kind, entry.name)
    if found and found.flavor_name != entry.flavor:
        command = f"zenml {kind.value.replace('_', '-')} delete {entry.name}"
        raise UserError(
            f"{where}: ZenML has it with the flavor {found.flavor_name!r}, the file says {entry.flavor!r}",
            hint=f"Give it another name in the file, or remove the old one: `{command}`.",
        )
    try:
        config = validate_stack_component_config(entry.configuration, entry.flavor, kind)
    except (KeyError, ValueError, ImportError) as error:
        reason = error.args[0] if isinstance(error, KeyError) else error  # a KeyError's text is in quotes
        raise UserError(f"{where}: {reason}", hint="Correct it, or make what is missing, then apply again.") from error
    assert config is not None  # it is None for custom flavors that are not to be checked
    return config.model_dump(mode="json", exclude_unset=True)


def _apply_component(
    kind: StackComponentType, entry: ComponentFile, configuration: dict[str, Any]
) -> tuple[UUID, Change]:
    client = Client()
    found = _find_component(kind, entry.name)
    if found is None:
        created = client.create_stack_component(entry.name, entry.flavor, kind, configuration)
        return created.id, Change(kind.value, entry.name, "created")
    if found.configuration == configuration:
        return found.id, Change(kind.value, entry.name, "unchanged")
    # ZenML merges configurations; None takes a key out.
    gone = dict.fromkeys(found.configuration.keys() - configuration.keys())
    client.update_stack_component(found.id, kind, configuration=gone | configuration)
    return found.id, Change(kind.value, entry.name, "updated")


def _apply_stack(name: str, components: dict[StackComponentType, list[UUID]], *, touched: bool) -> Change:
    client = Client()
    found = _find_stack_or_none(name)
    if found is None:
        client.create_stack(name, components)
        return Change("stack", name, "created")
    current = {kind: [entry.id for entry in entries] for kind, entries in found.components.items() if entries}
    if current == components and not touched:
        return Change("stack", name, "unchanged")
    # Also when only a component changed: ZenML keeps loaded stacks by their time of change.
    emptied: dict[StackComponentType, list[UUID]] = {kind: [] for kind in current.keys() - components.keys()}
    client.update_stack(found.id, component_updates=emptied | components)
    return Change("stack", name, "unchanged" if current == components else "updated")


@contextmanager
def _without_chosen_stack() -> Iterator[None]:
    """Hide this process's choice while stacks are changed: ZenML would make it the user's, and keep its old state."""
    chosen = os.environ.pop(ENV_ZENML_ACTIVE_STACK_ID, None)
    try:
        yield
    finally:
        if chosen:
            os.environ[ENV_ZENML_ACTIVE_STACK_ID] = chosen
            Client()._active_stack = None


def _find_component(kind: StackComponentType, name: str) -> ComponentResponse | None:
    found = Client().list_stack_components(type=kind, name=f"equals:{name}", hydrate=True).items
    return found[0] if found else None


def _find_stack_or_none(name: str) -> StackResponse | None:
    found = Client().list_stacks(name=f"equals:{name}", hydrate=True).items
    return found[0] if found else None


def _find_stack(name: str) -> StackResponse:
    found = _find_stack_or_none(name)
    if found is None:
        raise UserError(
            f"the stack {name!r} was deleted just now", hint="`python run.py stack list` shows what is left."
        )
    return found
