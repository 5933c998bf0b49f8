"""Who is being answered just now, so that nothing is taken away under an answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class InFlight:
    """Counts the requests of each of an engine's models, so that an adapter leaves only when its last one is done."""

    def __init__(self) -> None:
        self._count: Counter[str] = Counter()
        self._idle = asyncio.Event()

    @contextmanager
    def on(self, name: str) -> Iterator[None]:
        """One request, from its routing to its last byte."""
        self._count[name] += 1
        try:
            yield
        finally:
            self._count[name] -= 1
            if not self._count[name]:
                del self._count[name]
            self._idle.set()

    async def ended(self, names: set[str] | None = None) -> None:
        """Return once nothing is in flight on ``names``, or on anything when they are None."""
        while any(name in self._count for name in (self._count if names is None else names)):
            self._idle.clear()
            await self._idle.wait()
