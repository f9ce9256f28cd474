"""A bounded pool of a plugin version's instances."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any, Generic, TypeVar

from .. import osthread
from ..errors import DeadlineExceeded, HookError, PoolExhausted

T = TypeVar("T")


class Pool(Generic[T]):
    """Lends instances, each to one call at a time; makes them as calls overlap.

    The latest returned is lent first, so that its memory is warm. Nothing is locked unless the pool
    is exhausted: a deque's ends are atomic in CPython.

    :param make: makes an instance under the deadline ``start + timeout``; may raise HookError.
    :param size: how many may exist at once.
    :param patience: seconds that making one may take while nobody waits for it.
    :param made: called in the background after one was made there.
    """

    def __init__(
        self,
        make: Callable[[float, float], T],
        size: int,
        patience: float = 0.0,
        made: Callable[[], object] = bool,
    ) -> None:
        self._make = make
        self._size = size
        self._patience, self._made = patience, made
        #: Whether making one has taken longer than a call may.
        self._slow = False
        #: As many as were given up in the background, which still count as live.
        self._lost: deque[None] = deque()
        #: A caller in a hurry may pop from it instead of `acquire`, and append to it instead of
        #: `release` if it calls `notify` while anybody is `waiting`.
        self.idle: deque[T] = deque()
        self._begin()
        _pools.add(self)

    def _begin(self) -> None:
        """Count only what is idle: what other threads had before a fork, or made, is not here."""
        self._making = osthread.allocate_lock()  # held while one is made in the background
        self._freed = threading.Condition()
        self._lost.clear()
        # Guarded by _freed: instances lent or idle, and those being made.
        self._live = len(self.idle)
        self.waiting = 0  # guarded by _freed

    def acquire(self, start: float, timeout: float) -> T:
        """Borrow an instance until `release` or `discard`.

        :param start: when the hook began (`time.monotonic`); waiting and making count against its
            ``timeout``, both in seconds.
        :raises PoolExhausted: none became free before the deadline.
        :raises HookError: making one failed.
        """
        try:
            return self.idle.pop()
        except IndexError:
            return self._wait_or_make(start, timeout)

    def release(self, item: T) -> None:
        """Give an instance back for reuse."""
        self.idle.append(item)
        if self.waiting:
            self.notify()

    def notify(self) -> None:
        """Wake one waiting call, if any."""
        with self._freed:
            self._freed.notify()

    def discard(self) -> None:
        """Say that a borrowed instance is spent and not coming back."""
        with self._freed:
            self._live -= 1
            self._freed.notify()

    def replace(self, timeout: float) -> None:
        """Say that a borrowed instance is worn out and not coming back.

        The next one is made here and now unless one is idle: whoever wore it out has its answer
        already, and nobody else's call waits for it. What takes longer is made in the background.

        :param timeout: the deadline of the making, in seconds from now.
        """
        if self.idle:
            self.discard()
            return
        if self._slow:
            self._make_later()
            return
        try:
            item = self._make(monotonic(), timeout)
        except DeadlineExceeded:
            self._slow = True
            self._make_later()
        except HookError:
            self.discard()  # whoever needs one tries again, and says why it fails
        except BaseException:
            self.discard()
            raise
        else:
            self.release(item)

    def _make_later(self) -> None:
        """Make one in the background, in a place that is taken already; one at a time."""
        if self._patience and self._making.acquire(False):
            try:
                osthread.start(self._make_apart, "plugin-host-maker")
                return
            except RuntimeError:  # no thread to be had
                self._making.release()
        self.discard()

    def _make_apart(self) -> None:
        # Under gevent only the deques are safe here: who waits looks again at its deadline.
        try:
            self.idle.append(self._make(monotonic(), self._patience))
        except HookError:
            self._lost.append(None)  # whoever needs one tries again, and says why it fails
        except BaseException:
            self._lost.append(None)
            raise
        finally:
            self._making.release()
            self._made()
        if self.waiting and not osthread.is_gevent_patched():
            self.notify()

    def add(self, item: T) -> None:
        """Put in a ready instance that `make` did not make: the trial instance."""
        with self._freed:
            self._live += 1
        self.release(item)

    @property
    def live(self) -> int:
        """How many instances exist."""
        return self._live - len(self._lost)

    def _wait_or_make(self, start: float, timeout: float) -> T:
        with self._freed:
            while self._live - len(self._lost) >= self._size:
                # Raised before `idle` is looked at, so that whoever gives back now notifies.
                self.waiting += 1
                try:
                    left = start + timeout - monotonic()
                    free = bool(self.idle) or (left > 0 and self._freed.wait(left))
                    return self.idle.pop()
                except IndexError:  # a quicker caller took it, or nothing came back
                    if not free:
                        raise self._exhausted(timeout) from None
                finally:
                    self.waiting -= 1
            self._live += 1
        try:
            return self._make(start, timeout)
        except DeadlineExceeded:
            self._make_later()  # so that the next call need not fail
            raise
        except BaseException:
            self.discard()
            raise

    def _exhausted(self, timeout: float) -> PoolExhausted:
        return PoolExhausted(
            f"all {self._size} instances stayed busy for {timeout * 1000:g} ms;"
            " raise PLUGIN_HOST_MAX_INSTANCES or make the hook faster"
        )


#: Every pool of this process.
_pools: weakref.WeakSet[Pool[Any]] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for pool in _pools:
        pool._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
