"""Real operating-system threads, also in a process that gevent has patched.

Under gevent's monkey-patching ``threading.Thread`` is a greenlet: it never runs while a guest
computes, so a deadline kept by one never fires (rationale: "Why real threads under gevent?").
The functions here are the originals whenever patching has replaced them, looked up at call time
because patching may come after this module's import.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any, Protocol, cast


class Lock(Protocol):
    """What `_thread.lock` offers; a waiter blocks its whole OS thread."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...
    def release(self) -> None: ...
    def __enter__(self) -> bool: ...
    def __exit__(self, *exc: object) -> None: ...


def _gevent_monkey() -> ModuleType | None:
    monkey = sys.modules.get("gevent.monkey")
    return monkey if monkey is not None and monkey.is_module_patched("threading") else None


def is_gevent_patched() -> bool:
    """Whether gevent has replaced this process's threads by greenlets."""
    return _gevent_monkey() is not None


def original(module: str, name: str) -> Callable[..., Any]:
    """Return a function or class of a module of the standard library as it was before patching."""
    monkey = _gevent_monkey()
    if monkey is not None:
        return cast("Callable[..., Any]", monkey.get_original(module, name))
    return cast("Callable[..., Any]", getattr(sys.modules[module], name))


#: The idents of threads that were started here.
_ours: set[int] = set()


def _ident() -> int:
    return cast("int", original("_thread", "get_ident")())


def is_ours() -> bool:
    """Whether the calling thread was started here: under gevent it has no greenlets, and no hub."""
    return _ident() in _ours


class Handle:
    """A thread that was started here."""

    def __init__(self, target: Callable[[], None], name: str) -> None:
        self._target = target
        self._done = allocate_lock()
        self._done.acquire()
        self._thread: threading.Thread | None = None
        if is_gevent_patched():
            original("_thread", "start_new_thread")(self._run, ())
        else:
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._thread.start()

    def _run(self) -> None:
        ident = _ident()
        _ours.add(ident)
        try:
            self._target()
        finally:
            _ours.discard(ident)
            self._done.release()

    def join(self, timeout: float) -> bool:
        """Wait until the thread has ended; return whether it has, within ``timeout`` seconds."""
        if not self._done.acquire(True, timeout):
            return False
        self._done.release()
        if self._thread is not None:
            self._thread.join(timeout)
        return True


def start(target: Callable[[], None], name: str) -> Handle:
    """Run ``target`` in a new daemon thread that the operating system schedules."""
    return Handle(target, name)


def sleep(seconds: float) -> None:
    """Sleep this OS thread, not a greenlet."""
    original("time", "sleep")(seconds)


def allocate_lock() -> Lock:
    """Return a lock whose waiters block their OS thread."""
    return cast("Lock", original("_thread", "allocate_lock")())


def close(fd: int) -> None:
    """Close a descriptor now.

    gevent's ``os.close`` leaves all but regular files to the thread's hub, if the thread has one;
    in a thread that was started here it never runs.
    """
    original("os", "close")(fd)


def _after_fork_in_child() -> None:
    """Forget threads that do not exist here: others may get their idents."""
    _ours.intersection_update((_ident(),))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
