"""What one key has used within the last minute, exactly: no window of 60 seconds holds more than the limit.

A counter that starts anew with every minute lets twice the limit through around its turn, and a leaking bucket lets
through what was saved up. Here every use is kept for 60 seconds with its own time.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

SECONDS = 60.0


@dataclass
class Use:
    """An amount that counts until ``until`` (the clock of the caller, seconds)."""

    until: float
    amount: int


class Minute:
    """Uses of the last minute. All times are one clock's, seconds, and never go back."""

    def __init__(self) -> None:
        self._uses: deque[Use] = deque()
        self._void = 0
        self.total = 0

    def __len__(self) -> int:
        return len(self._uses)

    def wait(self, now: float, amount: int, limit: int) -> float:
        """Seconds until ``amount`` more fits under ``limit``; what is larger than ``limit`` never will."""
        self._expire(now)
        over = self.total + amount - limit
        if over <= 0:
            return 0.0
        for use in self._uses:
            over -= use.amount
            if over <= 0:
                return use.until - now
        return SECONDS

    def use(self, now: float, amount: int) -> Use:
        """Count an amount from now on."""
        use = Use(now + SECONDS, amount)
        self._uses.append(use)
        self.total += amount
        return use

    def settle(self, now: float, use: Use, amount: int) -> None:
        """Change what a use has come to; 0 takes it back. Nothing happens when its minute is over."""
        self._expire(now)
        if use.until <= now:
            return
        self.total += amount - use.amount
        use.amount = amount
        if amount == 0:
            # Questions that are refused again and again must not fill the memory for a minute. Nearly always it is the
            # last one; what lies between others is cleared away now and then.
            self._void += 1
            while self._uses and not self._uses[-1].amount:
                self._uses.pop()
                self._void -= 1
            if self._void > 16 + len(self._uses) // 2:
                self._uses = deque(use for use in self._uses if use.amount)
                self._void = 0

    def reset(self, now: float) -> float:
        """Seconds until nothing is left of it."""
        self._expire(now)
        return self._uses[-1].until - now if self._uses else 0.0

    def _expire(self, now: float) -> None:
        uses = self._uses
        while uses and (uses[0].until <= now or not uses[0].amount):
            use = uses.popleft()
            self.total -= use.amount
            self._void -= not use.amount
