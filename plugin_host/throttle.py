"""A cap on how often something is written, and the number of what was left out."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from . import osthread


class Throttle:
    """Lets things pass at a steady rate, and more of them in a burst; counts what it holds back.

    Once the burst is used up everything is held back until half of it is there again: so a flood
    is a few runs of things with one gap each to speak of, and not a gap after each thing.

    Takes an operating system's lock for an instant, and nothing that another greenlet could hold.

    :param rate: per second.
    :param burst: how many may come at once.
    :param clock: in seconds.
    """

    __slots__ = ("_at", "_burst", "_clock", "_left", "_lock", "_rate", "held", "holding")

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._lock = osthread.allocate_lock()  # guards all that follows
        self._left, self._at = burst, clock()
        #: Whether things are held back now, as far as is known.
        self.holding = False
        #: How many have been held back since the latest `resumed`.
        self.held = 0

    def admits(self, cost: float = 1.0) -> bool:
        """Return whether one more may pass; if not, it is counted.

        :param cost: what it uses up, at most half the burst: what costs more would be held back as
            soon as the burst has refilled, and be a gap of its own each time.
        """
        cost = min(cost, self._burst / 2)
        with self._lock:
            self._refill()
            if self.holding or self._left < cost:
                self.holding = True
                self.held += 1
                return False
            self._left -= cost
            return True

    def resumed(self) -> int:
        """Return how many were held back, if that has ended, once; else 0."""
        with self._lock:
            self._refill()
            if self.holding:
                return 0
            held, self.held = self.held, 0
            return held

    def _refill(self) -> None:
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left >= self._burst / 2:
            self.holding = False
