"""A circuit breaker: a plugin that keeps failing is not called for a while."""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from .. import osthread
from ..config import Settings

logger = logging.getLogger("plugin_host")

OFF, CLOSED, OPEN, HALF_OPEN = "off", "closed", "open", "half-open"
#: It opens only if at least this share of the calls failed: with less, somebody who can make single
#: calls fail could turn the plugin off for everybody.
SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Limits:
    """When a breaker opens, and for how long; times in seconds.

    :param failures: so many within ``window`` open it; 0 is never.
    :param first: for which it opens at first; twice as long each time that it opens again,
    :param longest: and at most that long.
    """

    failures: int
    window: float
    first: float
    longest: float


class Breaker:
    """One plugin version's, in one process.

    Closed, it is told of failures only: calls that succeed pay nothing for it. Open, it is asked
    before every call; when its time is over it lets one call through (*half-open*), which decides.
    Each transition is one line of the log.

    :param who: what log lines call the plugin.
    :param clock: in seconds.
    :param jitter: a number from 0 to below 1: workers should not all try at the same moment.
    """

    def __init__(
        self,
        who: str,
        limits: Limits,
        clock: Callable[[], float] = monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._who = who
        self._limits = limits
        self._clock, self._jitter = clock, jitter
        self._lock = osthread.allocate_lock()  # guards all that follows; nothing is logged under it
        self._state = CLOSED if limits.failures else OFF
        #: The latest failures: when, and how many calls there had been by then.
        self._recent: deque[tuple[float, int]] = deque(maxlen=limits.failures)
        self._level = 0  # how often it has opened without having been well for a window since
        self._until = 0.0
        self._opened_at = 0.0
        self._closed_at = -float("inf")
        self._opened = self._refused = 0
        self._refused_before = 0  # when it was last closed
        self._told = False  # whether the log has it that a call is tried, since it was opened

    @classmethod
    def of(cls, who: str, settings: Settings) -> Breaker:
        """Return one as an app wants it."""
        limits = Limits(
            settings.breaker_failures,
            settings.breaker_window,
            settings.breaker_open_seconds,
            settings.breaker_max_seconds,
        )
        return cls(who, limits)

    @property
    def is_closed(self) -> bool:
        """Whether calls need not ask."""
        return self._state == CLOSED

    def failed(self, calls: int, why: str) -> bool:
        """Note a failure; return whether it opens the breaker.

        :param calls: how many calls the plugin has had, this one included.
        :param why: the error, for the log.
        """
        with self._lock:
            if self._state != CLOSED:
                return False
            now, limits = self._clock(), self._limits
            self._recent.append((now, calls))
            began, before = self._recent[0]
            seconds, among = now - began, calls - before + 1
            if len(self._recent) < limits.failures or seconds > limits.window:
                return False
            if limits.failures < SHARE * among:
                return False
            again = now - self._closed_at <= limits.window
            self._level = self._level + 1 if again else 0
            self._opened_at = now
            pause = self._open(now)
        logger.error(
            "%s: %d of %d calls failed within %.3g s; not called for %.3g s, its failure policy"
            " holds instead; the latest: %s",
            self._who,
            limits.failures,
            among,
            seconds,
            pause,
            why,
        )
        return True

    def admits(self) -> bool:
        """Return whether a call may go through although the breaker is not closed; count it if not.

        What comes of such a call must be told: `proved`, `failed_again` or `undecided`.
        """
        with self._lock:
            if self._state != OPEN or self._clock() < self._until:
                self._refused += 1
                return False
            self._state = HALF_OPEN
            refused = self._refused - self._refused_before
            told, self._told = self._told, True
        if not told:  # by a call that was undecided, as each may be while the machine is short
            logger.info("%s: one call is tried; %d were refused", self._who, refused)
        return True

    def refuses(self) -> bool:
        """Return whether a call would not be admitted now; count it if so."""
        with self._lock:
            waits = self._state == OPEN and self._clock() < self._until
            refused = waits or self._state == HALF_OPEN
            self._refused += refused
            return refused

    def proved(self) -> None:
        """Close: the call that was let through did not fail."""
        with self._lock:
            now = self._clock()
            self._state, self._closed_at = CLOSED, now
            self._recent.clear()
            refused = self._refused - self._refused_before
            self._refused_before = self._refused
            seconds = now - self._opened_at
        logger.info(
            "%s: works again and is called, after %.3g s and %d refused calls",
            self._who,
            seconds,
            refused,
        )

    def failed_again(self, why: str) -> None:
        """Open for longer: the call that was let through failed, too."""
        with self._lock:
            self._level += 1
            pause = self._open(self._clock())
        logger.warning("%s: fails still, not called for %.3g s: %s", self._who, pause, why)

    def undecided(self) -> None:
        """Try again with the next call: the call that was let through never reached a guest."""
        with self._lock:
            self._state = OPEN

    def seconds_left(self) -> float:
        """Return the seconds until a call may be let through; 0 if that is now."""
        return max(0.0, self._until - self._clock()) if self._state == OPEN else 0.0

    def status(self) -> dict[str, Any]:
        """Return state and counts, JSON-able; ``until`` is the Unix time of the next try."""
        until = time.time() + self.seconds_left() if self._state == OPEN else None
        return {
            "state": self._state,
            "opened": self._opened,
            "refused": self._refused,
            "until": until,
        }

    def _open(self, now: float) -> float:
        """Open; return for how long."""
        limits = self._limits
        whole = min(limits.longest, limits.first * 2.0 ** min(self._level, 40))
        pause = whole * (0.5 + self._jitter() / 2)
        self._state, self._until = OPEN, now + pause
        self._opened += 1
        self._told = False
        return pause
