"""A part of a suite that stands for the whole."""

from __future__ import annotations


def evenly(total: int, wanted: int | None) -> list[int]:
    """Places spread evenly over a set: at most ``wanted`` of ``total``, all without ``wanted``."""
    count = total if wanted is None else min(wanted, total)
    return [index * total // count for index in range(count)]
