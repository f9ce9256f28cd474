"""Calls of guests whose host functions run the app's code, in a process with greenlets.

A greenlet that is switched away from while a guest is on its stack kills the process, and what the
app does in answer to a guest may well switch: it may wait for a database. Under gevent such a guest
therefore runs on an operating-system thread of its own, a *detour*, while the greenlet that has
called it waits as greenlets do, and runs those host functions itself: with its own context, in its
own thread, and with no guest on its stack (docs/rationale.md, "Why does a guest that asks the app
run on a thread of its own?").
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from functools import partial
from importlib import import_module
from time import thread_time
from typing import Any, Generic, TypeVar, cast

from .. import osthread
from ..errors import NoResources

T = TypeVar("T")

#: Seconds for which a thread waits for more work.
IDLE = 10.0
THREAD_NAME = "plugin-host-detour"

#: By the idents of threads that are on a detour, those of whoever waits for them.
_callers: dict[int, int] = {}


#: Seconds of processor time that this greenlet's detours took, less what its thread took meanwhile.
_elsewhere: ContextVar[float] = ContextVar("plugin_host.elsewhere", default=0.0)


def processor_time() -> float:
    """Return a clock, in seconds, of what this thread computes.

    From beginning to end of a detour it is that of the detour's thread: this one answers, and then
    has others' work to do while it waits.
    """
    return thread_time() + _elsewhere.get()


def caller() -> int:
    """Identify the thread or greenlet that has called the guest which runs here, or this one."""
    ident = threading.get_ident()
    return _callers.get(ident, ident)


class Detour(Generic[T]):
    """One call of a guest; made and run by the greenlet that calls.

    :param work: the call.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        # Imported already, or this would not be needed.
        gevent, event = import_module("gevent"), import_module("gevent.event")
        self._work: Callable[[], T] = partial(copy_context().run, work)
        self._waiter = threading.get_ident()
        self._watcher = gevent.get_hub().loop.async_()
        self._event = event.Event()
        self._answered = osthread.allocate_lock()
        self._answered.acquire()
        self._question: Callable[[], Any] | None = None
        self._answer: Any = None
        self._result: Any = None
        #: What the call, a question or the wait for them raised.
        self._error: BaseException | None = None
        self._failed: BaseException | None = None
        self._cut: BaseException | None = None
        self._done = False
        #: Processor time of the call, in seconds.
        self._took = 0.0

    def run(self) -> T:
        """Make the call, and answer meanwhile what it asks.

        :raises BaseException: what the call raised; or what cut the wait for it short (a
            `gevent.Timeout`, say), once the guest has ended: it is never left running.
        """
        before, began = _elsewhere.get(), thread_time()
        self._watcher.start(self._event.set)
        try:
            _thread().start(self._call, self._watcher.send)
            while not self._done:
                self._wait()
                if self._question is not None:
                    self._reply(self._question)
        finally:
            self._watcher.stop()
            self._watcher.close()
            _elsewhere.set(before + self._took - (thread_time() - began))
        error = self._cut or self._error
        if error is not None:
            self._cut = self._error = self._failed = None  # it refers to this frame
            raise error
        return cast("T", self._result)

    def ask(self, question: Callable[[], Any]) -> Any:
        """Have the greenlet call ``question``; called by a host function, on the guest's thread.

        :raises BaseException: what it raised.
        """
        self._question = question
        self._watcher.send()
        self._answered.acquire()
        failed, self._failed = self._failed, None
        if failed is not None:
            raise failed
        return self._answer

    def _call(self) -> None:
        ident = threading.get_ident()
        _callers[ident] = self._waiter
        began = thread_time()
        try:
            self._result = self._work()
        except BaseException as exc:
            self._error = exc
        finally:
            del _callers[ident]
            self._took = thread_time() - began
            self._done = True

    def _wait(self) -> None:
        try:
            self._event.wait()
        except BaseException as exc:  # the guest goes on: it has to end first
            self._cut = exc
        self._event.clear()

    def _reply(self, question: Callable[[], Any]) -> None:
        self._question = None
        try:
            if self._cut is not None:
                raise self._cut
            self._answer = question()
        except BaseException as exc:
            self._failed = exc
        self._answered.release()


class _Thread:
    """A thread that makes one call after the other, and ends when there are no more."""

    def __init__(self) -> None:
        self._bell = osthread.allocate_lock()
        self._bell.acquire()
        self._work: tuple[Callable[[], None], Callable[[], object]] | None = None
        osthread.start(self._run, THREAD_NAME)

    def start(self, work: Callable[[], None], done: Callable[[], object]) -> None:
        """Do ``work``, then call ``done``; the thread is idle by then."""
        self._work = work, done
        self._bell.release()

    def _run(self) -> None:
        while self._bell.acquire(True, IDLE) or not self._ended():
            given, self._work = self._work, None
            if given is not None:
                work, done = given
                work()
                _idle.append(self)
                del given, work
                done()
                del done

    def _ended(self) -> bool:
        """Whether nobody can have any more work for this thread."""
        try:
            _idle.remove(self)
        except ValueError:  # somebody has just taken it
            return False
        return True


_idle: list[_Thread] = []
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)


def _thread() -> _Thread:
    """Return an idle thread, or a new one.

    :raises NoResources: there is none to be had.
    """
    try:
        return _idle.pop()
    except IndexError:
        pass
    try:
        return _Thread()
    except RuntimeError as exc:
        raise NoResources(f"no thread can be started to call it in ({exc})") from exc


def is_needed() -> bool:
    """Whether a guest's host functions could switch greenlets in this thread.

    In a thread of ours there are none. To wait there as a greenlet does would give it a hub, which
    never runs; and what such a thread closes, gevent (from 25.8 on) leaves to that hub to close.
    """
    return osthread.is_gevent_patched() and not osthread.is_ours()


def asking(detour: Detour[Any], function: Callable[..., T], *arguments: Any) -> T:
    """Call a host function where the guest was called."""
    return cast("T", detour.ask(partial(function, *arguments)))
