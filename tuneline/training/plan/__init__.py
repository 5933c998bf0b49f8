"""The planner: what a run needs and how long it takes, before anything is downloaded."""

from tuneline.training.plan.cards import Device, card, card_of_size, this_machine
from tuneline.training.plan.checkpointing import checkpointing_needed, with_checkpointing_decided
from tuneline.training.plan.planner import Plan, plan

__all__ = [
    "Device",
    "Plan",
    "card",
    "card_of_size",
    "checkpointing_needed",
    "plan",
    "this_machine",
    "with_checkpointing_decided",
]
