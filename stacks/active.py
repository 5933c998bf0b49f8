"""One component of the active stack, without the others: ``Client().active_stack`` loads them all, MLflow for 2 s."""

from __future__ import annotations

from zenml.client import Client
from zenml.enums import StackComponentType
from zenml.stack import StackComponent


def active_component(kind: StackComponentType) -> StackComponent | None:
    """The active stack's component of a kind, or None if it has none."""
    found = Client().active_stack_model.components.get(kind)
    return StackComponent.from_model(found[0]) if found else None
