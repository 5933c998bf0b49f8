"""The planner: what a run needs and how long it takes, before anything is downloaded."""

from tuneline.training.plan.cards import Device, card, card_of_size, this_machine
from tuneline.training.plan.planner import Plan, plan

__all__ = ["Device", "Plan", "card", "card_of_size", "plan", "this_machine"]
