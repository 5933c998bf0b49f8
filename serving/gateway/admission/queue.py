"""The places in the engine, and the questions that wait for one: first come first served within a key, keys in turn.

The engine would take any number of questions and let all of them wait; but its queue is one for all keys, knows no
bound and no deadline, and what has left the gateway cannot be refused any more.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque

from serving.gateway.errors import unavailable
from serving.metrics import Metrics


class Waiter:
    """A question in the queue."""

    def __init__(self, places: int) -> None:
        self.places = places
        self.called: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Queue:
    """The places of one engine.

    Attributes:
        taken: places that are taken.
        waiting: questions that wait.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._by_key: OrderedDict[str, deque[Waiter]] = OrderedDict()
        self._size = 0
        self.taken = 0
        self.waiting = 0

    async def take(self, key: str, places: int, size: int, max_waiting: int, seconds: float) -> int:
        """Take places, at once if they are free and nobody waits, else in turn.

        A question that needs more than are free stays at the head and holds up the others, so that it is not passed by
        for ever; one that needs more than there are takes all of them.

        Args:
            size: places that there are just now.
            max_waiting: questions that may wait.
            seconds: how long one may wait.

        Returns:
            The places taken; give them back.

        Raises:
            ApiError: 503, too many wait already, or the time was up.
        """
        self._size = size
        places = min(places, size)
        if not self.waiting and self.taken + places <= size:
            self._count(places)
            return places
        if self.waiting >= max_waiting:
            self._metrics.refused.labels(self._metrics.endpoint, "queue_full").inc()
            raise unavailable(f"{self.waiting} questions are waiting already; ask again in a moment.", "queue_full")
        waiter = Waiter(places)
        self._by_key.setdefault(key, deque()).append(waiter)
        self._wait(1)
        self._call()  # a release may have made more places since
        try:
            async with asyncio.timeout(seconds):
                await waiter.called
        except TimeoutError:
            if waiter.called.done() and not waiter.called.cancelled():
                return waiter.places  # it was called in the very moment
            self._leave(key, waiter)
            self._metrics.refused.labels(self._metrics.endpoint, "queue_deadline").inc()
            raise unavailable(
                f"No place in the engine came free within {seconds:g} s; ask again in a moment.", "queue_deadline"
            ) from None
        except asyncio.CancelledError:  # the client left
            if waiter.called.done() and not waiter.called.cancelled():
                self.give(waiter.places)
            else:
                self._leave(key, waiter)
            raise
        return waiter.places

    def give(self, places: int) -> None:
        """Give places back, and call whoever is next."""
        self._count(-places)
        self._call()

    def _call(self) -> None:
        while self._by_key:
            key, waiters = next(iter(self._by_key.items()))
            waiter = waiters[0]
            if waiter.called.cancelled():  # it has left and not got round to saying so
                self._leave(key, waiter)
                return
            waiter.places = min(waiter.places, self._size)  # there may be fewer since a release
            if self.taken + waiter.places > self._size:
                return
            waiters.popleft()
            if waiters:
                self._by_key.move_to_end(key)
            else:
                del self._by_key[key]
            self._wait(-1)
            self._count(waiter.places)
            waiter.called.set_result(None)

    def _leave(self, key: str, waiter: Waiter) -> None:
        waiters = self._by_key.get(key, deque())
        if waiter not in waiters:
            return
        waiters.remove(waiter)
        if not waiters:
            del self._by_key[key]
        self._wait(-1)
        self._call()  # it may have held up others that fit

    def _wait(self, change: int) -> None:
        self.waiting += change
        self._metrics.waiting.set(self.waiting)

    def _count(self, change: int) -> None:
        self.taken += change
        self._metrics.running.set(self.taken)
