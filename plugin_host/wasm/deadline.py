"""Deadlines: an on-demand watchdog with its own clock.

A guest checks the engine's *epoch* at every loop and function entry. The watchdog advances the
epoch only when some call's deadline is due; each store's epoch callback then compares the clock
with its own deadline, so a short deadline never ends a neighbour's call. Without calls it sleeps
(docs/rationale.md, "Why a watchdog and not a ticker?").

A call that has used up half its time is one that may be ended: from then on, or from `LEAD` before
its deadline, Python's threads take turns quickly, and the guest is asked once for its processor
time, so that at the deadline nothing has to wait for long. They do so at once where the watchdog
itself had to wait for the GIL ("Why do threads switch faster while a deadline is near?").

On a busy machine a thread may wait long for the processor or the GIL. That alone never ends a
call: a guest must have used the processor before it was stopped by a tick that came after its
deadline, and it gets at least `GRACE` from when it is entered (docs/rationale.md, "Why does a wait
for the GIL not end a call?").
"""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from .. import osthread
from ..errors import NoResources
from .haste import haste

#: Seconds that a guest may run even if its deadline passed while its thread waited to enter it.
GRACE = 0.002
#: Seconds without a call after which the watchdog's thread ends, until the next call.
IDLE_AFTER = 2.0
#: Seconds before a deadline from which the process hurries; less if that is over half the time.
LEAD = 0.025
THREAD_NAME = "plugin-host-watchdog"
#: The longest and shortest pause between two looks, in seconds.
LONGEST, SHORTEST = 0.025, 0.0005
#: Seconds after which a look is late: other threads are busy in Python.
LATE = 0.002
#: Seconds for which a call waits at most until a late watchdog has looked, and of each nap in it.
YIELD, NAP = 0.002, 0.0001


class Watched(Protocol):
    """What the watchdog needs to know of an instance."""

    #: Absolute time (`time.monotonic`) by which its current, or latest, call must end.
    deadline: float
    #: When the call under way was entered (the same clock); 0 while there is none.
    running: float
    #: Whether that call is being ended, because of its deadline.
    expired: bool


class Watchdog:
    """Advances an engine's epoch when a watched call is overdue.

    A caller sets ``deadline`` and ``running`` on the watched object and, if the deadline comes
    before `next_look`, calls `look_by`; that is all a call pays.

    :param tick: advances the engine's epoch; called from the watchdog's thread.
    :param cadence: if given, tick at this pace (seconds) while any call is under way instead of
        only when one is overdue: for stores that count ticks because they have no callback.
    """

    def __init__(self, tick: Callable[[], None], cadence: float | None = None) -> None:
        self._advance = tick
        #: How often the epoch has been advanced, and when: tick n at n modulo the length.
        self.ticks = 0
        self.ticked_at = [0.0] * 1024
        self._cadence = cadence
        self._watched: dict[int, weakref.ref[Watched]] = {}
        self._reset()
        if hasattr(os, "register_at_fork"):
            reset = weakref.WeakMethod(self._reset)
            os.register_at_fork(after_in_child=lambda: (reset() or _nothing)())

    def _reset(self) -> None:
        """Forget the thread: a forked child has none."""
        #: When the watchdog looks next, absolute; infinite while there is no call to watch.
        self.next_look = math.inf
        #: When it is to be given way, absolute: it is late, since it waits for the GIL.
        self.late_at = math.inf
        self._pause = LONGEST
        self._looked = self._next_tick = 0.0
        self._rung_at = math.inf  # when look_by last rang, if that has not been seen
        self._bell = osthread.allocate_lock()
        self._bell.acquire()
        self._turn = osthread.allocate_lock()  # guards _thread and _resting
        self._thread: osthread.Handle | None = None
        self._resting = False

    def watch(self, item: Watched) -> None:
        """Watch ``item`` for as long as it lives."""
        key = id(item)
        self._watched[key] = weakref.ref(item, lambda _: self._watched.pop(key, None))

    def look_by(self, deadline: float) -> None:
        """Make sure that the watchdog looks no later than ``deadline`` (absolute).

        :raises NoResources: there is no thread to be had: the call must not begin.
        """
        # Half of it: so a call is seen before it has used up half its time.
        self._pause = max(SHORTEST, min(self._pause, (deadline - monotonic()) / 2))
        self.next_look = min(self.next_look, deadline)
        self._rung_at = monotonic()
        self._ring()
        with self._turn:  # either the ring is seen by the thread, or its end is seen here
            self._resting = False
            if self._thread is None:
                self._thread = self._start()

    def give_way(self) -> None:
        """Let a late watchdog have the GIL: sleep until it has looked, or for `YIELD` seconds.

        Whoever waits for the GIL beside threads that give it up and take it again all the time gets
        it by chance only, and wakes each time for nothing (docs/rationale.md, "Why do calls give a
        late watchdog way?").
        """
        most = monotonic() + YIELD
        while self.late_at < most:
            if monotonic() >= most:
                self.late_at = most + YIELD  # others hold the GIL: it will be its turn
                return
            osthread.sleep(NAP)

    def _start(self) -> osthread.Handle:
        haste.set(self, True)  # until its first look: it needs the GIL to begin, as all do
        try:
            return osthread.start(self._run, THREAD_NAME)
        except RuntimeError as exc:
            self.next_look = math.inf  # or later calls would think themselves watched
            haste.set(self, False)
            raise NoResources(f"no thread can be started to watch its deadline ({exc})") from exc

    def rest(self) -> None:
        """End the thread, unless a call is under way: there should be none when a process forks.

        The next call starts it again.
        """
        with self._turn:
            thread, self._resting = self._thread, True
        if thread is not None:
            self._ring()
            thread.join(1.0)

    def _ring(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:
            pass  # somebody else has just rung

    def _run(self) -> None:
        while True:
            try:
                return self._watch()
            except MemoryError:  # guests have to end all the same, and there is more once one has
                self._bell.acquire(True, SHORTEST)

    def _watch(self) -> None:
        bell, active, look = self._bell, monotonic(), math.inf
        while bell is self._bell:  # another bell: this thread belongs to a process before a fork
            # Until the survey is done, every call rings: it may have begun too late to be seen.
            self.next_look = self.late_at = math.inf
            wanted, self._rung_at = min(look, self._rung_at), math.inf
            now = monotonic()
            latest, due, near, tick = self._survey(now, now - wanted > LATE)
            haste.set(self, near)  # before anything that may wait for the GIL
            if tick:
                self._tick()
            active = max(active, min(latest, now))
            if due == math.inf and (self._resting or now - active > IDLE_AFTER):
                with self._turn:
                    if not bell.acquire(False):
                        self._pause, self._thread = LONGEST, None
                        return
            self.next_look = look = min(now + self._pause, max(due, now + SHORTEST))
            self.late_at = look + SHORTEST
            bell.acquire(True, max(0.0, look - now))
            # Shrunk by short deadlines; grows back when they have stopped coming.
            self._pause = min(LONGEST, self._pause * 1.1)

    def _tick(self) -> None:
        number = self.ticks + 1
        self.ticked_at[number % len(self.ticked_at)] = monotonic()
        self.ticks = number
        self._advance()

    def _survey(self, now: float, late: bool) -> tuple[float, float, bool, bool]:
        """Look at all calls.

        :param late: this look comes late.
        :returns: the latest deadline set; when to look at a call next; whether one is near its
            deadline or overdue, or this look is late for one; and whether to tick.
        """
        latest, due, near, tick = -math.inf, math.inf, False, False
        for ref in list(self._watched.values()):
            item = ref()
            if item is None:
                continue
            entered, deadline = item.running, item.deadline
            latest = max(latest, deadline)
            if entered:
                soon = deadline - min(LEAD, (deadline - entered) / 2)
                near = near or late or soon <= now
                if not item.expired:
                    tick = tick or deadline <= now or self._looked < soon <= now
                due = min(due, soon if now < soon else deadline)
        self._looked = now
        if self._cadence is not None and due != math.inf:
            tick = now >= self._next_tick  # never sooner, however often calls ring
            if tick:
                self._next_tick = now + self._cadence
            due = self._next_tick
        return latest, due, near, tick


def _nothing() -> None:
    pass
