"""Deadlines: an on-demand watchdog with its own clock.

A guest checks the engine's *epoch* at every loop and function entry. The watchdog advances the
epoch only when some call's deadline is due; each store's epoch callback then compares the clock
with its own deadline, so a short deadline never ends a neighbour's call. Without calls it sleeps
(docs/rationale.md, "Why a watchdog and not a ticker?").
"""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from .. import osthread

#: Seconds without a call after which the watchdog stops looking and waits for the next call.
IDLE_AFTER = 2.0
#: The longest and shortest pause between two looks, in seconds.
LONGEST, SHORTEST = 0.05, 0.001


class Watched(Protocol):
    """What the watchdog needs to know of an instance."""

    #: Absolute time (`time.monotonic`) by which its current, or latest, call must end.
    deadline: float
    #: Whether a call is under way.
    running: bool


class Watchdog:
    """Advances an engine's epoch when a watched call is overdue.

    A caller sets ``deadline`` and ``running`` on the watched object and, if the deadline comes
    before `next_look`, calls `look_by`; that is all a call pays.

    :param tick: advances the engine's epoch; called from the watchdog's thread.
    :param cadence: if given, tick at this pace (seconds) while any call is under way instead of
        only when one is overdue: for stores that count ticks because they have no callback.
    """

    def __init__(self, tick: Callable[[], None], cadence: float | None = None) -> None:
        self._tick = tick
        self._cadence = cadence
        self._watched: dict[int, weakref.ref[Watched]] = {}
        self._reset()
        if hasattr(os, "register_at_fork"):
            reset = weakref.WeakMethod(self._reset)
            os.register_at_fork(after_in_child=lambda: (reset() or _nothing)())

    def _reset(self) -> None:
        """Forget the thread: a forked child has none."""
        #: When the watchdog looks next, absolute; infinite while it waits for a call.
        self.next_look = math.inf
        self._pause = LONGEST
        self._next_tick = 0.0
        self._bell = osthread.allocate_lock()
        self._bell.acquire()
        self._starting = osthread.allocate_lock()
        self._started = False

    def watch(self, item: Watched) -> None:
        """Watch ``item`` for as long as it lives."""
        key = id(item)
        self._watched[key] = weakref.ref(item, lambda _: self._watched.pop(key, None))

    def look_by(self, deadline: float) -> None:
        """Make sure that the watchdog looks no later than ``deadline`` (absolute)."""
        self._pause = max(SHORTEST, min(self._pause, deadline - monotonic()))
        self.next_look = min(self.next_look, deadline)
        if not self._started:
            self._start()
        try:
            self._bell.release()
        except RuntimeError:
            pass  # somebody else has just rung

    def _start(self) -> None:
        with self._starting:
            if not self._started:
                self._started = True
                osthread.start(self._run, "plugin-host-watchdog")

    def _run(self) -> None:
        bell, active = self._bell, monotonic()
        while bell is self._bell:  # another bell: this thread belongs to a process before a fork
            # Until the survey is done, every call rings: it may have begun too late to be seen.
            self.next_look = math.inf
            now = monotonic()
            latest, due = self._survey(now)
            active = max(active, min(latest, now))
            if now - active > IDLE_AFTER and due == math.inf:
                self._pause = LONGEST
                bell.acquire()
                active = monotonic()
                continue
            self.next_look = look = min(now + self._pause, max(due, now + SHORTEST))
            bell.acquire(timeout=max(0.0, look - now))
            # Shrunk by short deadlines; grows back when they have stopped coming.
            self._pause = min(LONGEST, self._pause * 1.1)

    def _survey(self, now: float) -> tuple[float, float]:
        """Tick if needed; return the latest deadline set and the next one due."""
        latest, due, overdue = -math.inf, math.inf, False
        for ref in list(self._watched.values()):
            item = ref()
            if item is None:
                continue
            latest = max(latest, item.deadline)
            if item.running:
                overdue = overdue or item.deadline <= now
                due = min(due, item.deadline)
        if self._cadence is None:
            if overdue:
                self._tick()
        elif due != math.inf:
            if now >= self._next_tick:  # never sooner, however often calls ring
                self._tick()
                self._next_tick = now + self._cadence
            due = self._next_tick
        return latest, due


def _nothing() -> None:
    pass
