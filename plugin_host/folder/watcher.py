"""The thread that looks at the plugins folder: on every event, and at an interval.

One daemon thread of the operating system per process, started by the first request and never
before a fork: threads do not survive one. It calls ``on_wake``, which decides what to do; the
thread only decides when. The first requests wait for the first look, up to a bound: what this
process loaded when it started, or its parent before the fork, may be of long ago.
"""

from __future__ import annotations

import _thread
import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, Literal, Protocol

from plugin_host import osthread
from plugin_host.errors import MORE_RESOURCES
from plugin_host.folder.notifier import FolderNotifier, is_available
from plugin_host.folder.settling import Event

Mode = Literal["auto", "watchdog", "poll"]

BLIND_INTERVAL = 0.25
"""Seconds between looks when events were wanted and there are none."""
FIRST_LOOK = 1.0
"""Seconds for which a process's first requests wait for its first look."""
_MIN_GAP = 0.01  # seconds between two looks, so that a storm of events cannot keep a core busy
_MAX_GAP = 0.05

_log = logging.getLogger(__name__)
_numbers = count(1)


class _Bell:
    """Wakes one waiting thread; rings that nobody waited for are kept as one."""

    def __init__(self) -> None:
        self._lock = osthread.allocate_lock()
        self._lock.acquire()

    def ring(self) -> None:
        try:
            self._lock.release()
        except RuntimeError:
            pass  # it rings already

    def wait(self, timeout: float) -> bool:
        return self._lock.acquire(True, timeout)


class _Loop:
    """One running thread; ``looked`` rings after its first look, ``done`` when it has ended."""

    def __init__(self) -> None:
        self.bell = _Bell()
        self.looked = _Bell()
        self.done = _Bell()
        self.name = f"plugin-host-watcher-{next(_numbers)}"
        self.ident: int | None = None
        self.stopping = False
        self.ended = False


class OnWake(Protocol):
    """Looks at the folder.

    Returns the seconds after which it wants to be called again although nothing happens, or None.
    """

    def __call__(self, *, initial: bool = False) -> float | None: ...


class Watcher:
    """Calls ``on_wake`` in its own thread, soon after the folder changed and at an interval.

    A watcher that nobody refers to any more ends its thread.

    :param on_wake: called by that thread, the first time with ``initial``. What it raises is
        logged, and the thread goes on.
    :param poll_interval: seconds between two looks without any event.
    :param mode: ``poll`` uses no events; ``auto`` and ``watchdog`` use them where they work, and
        poll at least every `BLIND_INTERVAL` seconds where not; ``watchdog`` warns of that.
    :param on_event: told the kind of event and the file's name, from another thread.
    :param also: a file elsewhere whose replacement is an event, too.
    """

    def __init__(
        self,
        directory: Path,
        on_wake: OnWake,
        poll_interval: float,
        mode: Mode = "auto",
        on_event: Callable[[Event, str], None] | None = None,
        also: Path | None = None,
    ) -> None:
        self._directory = directory
        self._also = also
        self._on_wake = on_wake
        self._interval = poll_interval
        self._mode = mode
        self._on_event = on_event or _ignore
        self._started = False
        self._stopped = False
        self._start_lock = osthread.allocate_lock()  # held while the thread is being started
        self._loop: _Loop | None = None
        self._events = False
        self._looks = 0
        self._failures = 0
        self._last_look: float | None = None
        self._last_error: str | None = None
        _watchers.add(self)

    def ensure_started(self) -> None:
        """Start the thread if this process has none yet, and wait for its first look.

        Free of cost when it has. Who comes meanwhile waits, too: no request is served what was
        there when the process was made, unless the look takes longer than `FIRST_LOOK`.
        """
        if self._started or (self._loop is not None and self._loop.ident == _thread.get_ident()):
            return  # the latter: on_wake calls this
        # Under gevent not waited for: whoever holds it may be a greenlet of this very thread.
        if not self._start_lock.acquire(True, 0 if osthread.is_gevent_patched() else FIRST_LOOK):
            return
        try:
            if not self._started:
                self._start().looked.wait(FIRST_LOOK)
                self._started = True
        except RuntimeError as error:  # no thread to be had: the request must not fail for it
            self._failed(error, f"no thread can be started ({error}); {MORE_RESOURCES}")
        finally:
            self._start_lock.release()

    def _start(self) -> _Loop:
        loop = _Loop()
        notifier = self._make_notifier(loop.bell)
        watcher = weakref.ref(self)
        self._loop = loop  # before the start: on_wake may stop us at once
        try:
            osthread.start(lambda: _run(watcher, loop, notifier), name=loop.name)
        except RuntimeError:
            self._loop = None
            raise
        weakref.finalize(self, loop.bell.ring).atexit = False
        atexit.unregister(_stop_all)
        atexit.register(_stop_all)  # the latest, so the first to run
        if self._stopped:  # by another thread, meanwhile
            loop.stopping = True
            loop.bell.ring()
        return loop

    def wake(self) -> None:
        """Look as soon as possible. Does nothing before the thread is started."""
        loop = self._loop
        if loop is not None:
            loop.bell.ring()

    def stop(self, timeout: float = 5.0) -> bool:
        """End the thread for good; returns whether it ended within ``timeout`` seconds."""
        self._started = self._stopped = True
        loop = self._loop
        if loop is None:
            return True
        loop.stopping = True
        loop.bell.ring()
        if loop.ident == _thread.get_ident():
            return False  # called by on_wake: the thread ends when that returns
        if not loop.done.wait(timeout):
            return False
        loop.done.ring()  # for whoever stops it again
        for thread in threading.enumerate():
            if thread.name == loop.name:
                thread.join(timeout)
        return True

    def health(self) -> dict[str, Any]:
        """Return what an operator wants to know about the thread, JSON-able.

        ``mode`` is how changes are noticed now: ``watchdog`` or ``poll``; ``last_look`` is a Unix
        time.
        """
        loop = self._loop
        return {
            "mode": "watchdog" if self._events else "poll",
            "alive": loop is not None and not loop.ended,
            "pid": os.getpid(),
            "interval": self._wait_without_event(),
            "looks": self._looks,
            "last_look": self._last_look,
            "failures": self._failures,
            "last_error": self._last_error,
        }

    def _make_notifier(self, bell: _Bell) -> FolderNotifier | None:
        if self._mode == "poll":
            return None
        # watchdog's threads are greenlets there: they block the worker, or die.
        patched = osthread.is_gevent_patched()
        if is_available() and not patched:
            return FolderNotifier(self._directory, self._on_event, bell.ring, also=self._also)
        why = "under gevent" if patched else "watchdog cannot be imported"
        level = logging.WARNING if self._mode == "watchdog" else logging.INFO
        _log.log(level, "plugins folder %s: no file events (%s); polling", self._directory, why)
        return None

    def _wait_without_event(self) -> float:
        blind = self._mode != "poll" and not self._events
        return min(self._interval, BLIND_INTERVAL) if blind else self._interval

    def _look(self, notifier: FolderNotifier | None, initial: bool) -> float:
        """Call on_wake; return the seconds until the next call."""
        self._events = not initial and notifier is not None and notifier.ensure()
        try:
            again = self._on_wake(initial=initial)
            self._last_error = None
        except BaseException as error:  # GreenletExit and SystemExit too: the thread must go on
            again = None
            self._failed(error)
        self._looks += 1
        self._last_look = time.time()
        wait = self._wait_without_event()
        return wait if again is None else min(wait, again)

    def _failed(self, error: BaseException, known: str = "") -> None:
        """Note an error; ``known``: its cause and remedy, in place of a traceback."""
        self._failures += 1
        text = f"{type(error).__name__}: {error}"
        if text != self._last_error:  # once, not at every interval
            why, exc_info = f": {known}" if known else "", None if known else error
            _log.error(
                "plugins folder %s: reloading failed%s", self._directory, why, exc_info=exc_info
            )
        self._last_error = text

    def _after_fork(self) -> None:
        """Forget the parent's thread; locks may have been held by threads that are gone."""
        self._start_lock = osthread.allocate_lock()
        self._loop = None
        self._events = False
        self._started = self._stopped


def _run(reference: weakref.ref[Watcher], loop: _Loop, notifier: FolderNotifier | None) -> None:
    """Be the watcher's thread; holds no reference to the watcher while it waits."""
    loop.ident = _thread.get_ident()
    try:
        if (watcher := reference()) is not None:
            watcher._look(None, initial=True)
            del watcher
        loop.looked.ring()
        while not loop.stopping:
            watcher = reference()
            if watcher is None:
                return
            began = time.monotonic()
            wait = watcher._look(notifier, initial=False)
            del watcher
            gap = min(_MAX_GAP, max(_MIN_GAP, time.monotonic() - began))
            if not loop.stopping:
                osthread.sleep(gap)
                loop.bell.wait(max(0.0, wait - gap))
    finally:
        if notifier is not None:
            notifier.close()
        loop.ended = True
        loop.done.ring()


def _ignore(event: Event, name: str) -> None:
    """Take no note of an event."""


_watchers: weakref.WeakSet[Watcher] = weakref.WeakSet()


def _stop_all() -> None:
    """End a look that is under way before what it uses is taken apart: the process ends."""
    for watcher in list(_watchers):
        watcher.stop()


def _after_fork_in_child() -> None:
    for watcher in list(_watchers):
        watcher._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
