"""Scores of 0 and 1 for the gate's tests."""

from __future__ import annotations

import random


def scores(right: int, of: int, seed: int = 0) -> list[float]:
    """So many right answers in a random order."""
    values = [1.0] * right + [0.0] * (of - right)
    random.Random(seed).shuffle(values)
    return values


def flip(values: list[float], *, gained: int = 0, lost: int = 0) -> list[float]:
    """The same scores with some wrong answers made right and some right ones wrong."""
    out = list(values)
    for place in [n for n, value in enumerate(values) if value == 0][:gained]:
        out[place] = 1.0
    for place in [n for n, value in enumerate(values) if value == 1][:lost]:
        out[place] = 0.0
    return out


CHAMPION = scores(200, of=320)
BASE = [0.0] * 320
