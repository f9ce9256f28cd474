"""State in this process's memory: for tests, and for one worker that may forget.

A forked child goes on with a copy of its own.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, TypeVar

from plugin_host import osthread
from plugin_host.errors import StateUnavailable

from . import forking
from .backend import Admission, Clock, Entry, Outcome, Sum, Swap, after, time_left, wall_clock
from .numbers import Addition, write_number
from .quota import Space, too_many_bytes, too_many_keys

LABEL: Final = "memory:"

N = TypeVar("N", int, float)
T = TypeVar("T")


class _Cell(NamedTuple):
    value: bytes
    due: int | None  # when it expires, by the backend's clock


class _Room:
    """One namespace; what has expired is swept before anybody looks."""

    def __init__(self) -> None:
        self.cells: dict[bytes, _Cell] = {}
        self.order: list[bytes] = []  # the keys, sorted
        self.size = 0  # of all keys and values
        self._due: list[tuple[int, bytes]] = []  # a heap; may name keys that have changed since

    def sweep(self, now: int) -> int:
        swept = 0
        while self._due and self._due[0][0] <= now:
            due, key = heapq.heappop(self._due)
            cell = self.cells.get(key)
            if cell is not None and cell.due == due:
                self.remove(key)
                swept += 1
        return swept

    def value(self, key: bytes) -> bytes | None:
        cell = self.cells.get(key)
        return None if cell is None else cell.value

    def check(self, space: Space, items: Iterable[tuple[bytes, bytes]]) -> None:
        """Raise `StateQuota` if there is no room for these."""
        new = grown = 0
        for key, value in items:
            old = self.cells.get(key)
            new += old is None
            grown += len(value) - len(old.value) if old else len(key) + len(value)
        if new and len(self.cells) + new > space.quota.max_keys:
            raise too_many_keys(space)
        if grown > 0 and self.size + grown > space.quota.max_bytes:
            raise too_many_bytes(space)

    def put(self, key: bytes, value: bytes, due: int | None) -> None:
        old = self.cells.get(key)
        if old is None:
            insort(self.order, key)
        self.size += len(value) - len(old.value) if old else len(key) + len(value)
        self.cells[key] = _Cell(value, due)
        if due is not None:
            heapq.heappush(self._due, (due, key))
            if len(self._due) > 2 * len(self.cells) + 64:
                self._due = [(cell.due, key) for key, cell in self.cells.items() if cell.due]
                heapq.heapify(self._due)

    def remove(self, key: bytes) -> bool:
        cell = self.cells.pop(key, None)
        if cell is None:
            return False
        self.size -= len(key) + len(cell.value)
        del self.order[bisect_left(self.order, key)]
        return True

    def count(self, prefix: bytes) -> int:
        return bisect_left(self.order, after(prefix)) - bisect_left(self.order, prefix)


class MemoryBackend:
    """A `Backend` for the threads of one process.

    :param clock: the time of day, by which keys expire.
    """

    def __init__(self, clock: Clock = wall_clock) -> None:
        self._clock = clock
        self._rooms: dict[str, _Room] = {}
        self._lock = osthread.allocate_lock()  # guards all rooms
        forking.watch(self)

    def before_fork(self) -> None:
        """Let no operation be under way, or the child would have half of it."""
        self._lock.acquire()

    def after_fork(self, in_child: bool) -> None:
        """Let operations go on, in both."""
        self._lock.release()

    def _run(self, space: Space, deadline: float, work: Callable[[_Room, int], T]) -> T:
        self._acquire(deadline)
        try:
            room = self._rooms.get(space.name)
            if room is None:
                room = self._rooms[space.name] = _Room()
            now = self._clock()
            room.sweep(now)
            return work(room, now)
        finally:
            self._lock.release()

    def _acquire(self, deadline: float) -> None:
        left = time_left(deadline)
        if not left or not self._lock.acquire(True, left):
            raise StateUnavailable(
                LABEL, "the deadline has passed", "give the hook a longer timeout_ms"
            )

    def read(self, space: Space, keys: Sequence[bytes], deadline: float) -> list[bytes | None]:
        return self._run(space, deadline, lambda room, _: [room.value(key) for key in keys])

    def write(
        self, space: Space, items: dict[bytes, bytes], ttl: int | None, deadline: float
    ) -> None:
        def work(room: _Room, now: int) -> None:
            room.check(space, items.items())
            for key, value in items.items():
                room.put(key, value, _due(now, ttl))

        self._run(space, deadline, work)

    def remove(self, space: Space, keys: Sequence[bytes], deadline: float) -> int:
        return self._run(space, deadline, lambda room, _: sum(map(room.remove, keys)))

    def swap(
        self,
        space: Space,
        key: bytes,
        expected: bytes | None,
        value: bytes | None,
        ttl: int | None,
        deadline: float,
    ) -> Swap:
        def work(room: _Room, now: int) -> Swap:
            current = room.value(key)
            if current != expected:
                return Swap(False, current)
            if value is None:
                room.remove(key)
            else:
                room.check(space, [(key, value)])
                room.put(key, value, _due(now, ttl))
            return Swap(True, value)

        return self._run(space, deadline, work)

    def add(
        self, space: Space, key: bytes, addition: Addition[N], ttl: int | None, deadline: float
    ) -> Sum[N]:
        def work(room: _Room, now: int) -> Sum[N]:
            old = room.cells.get(key)
            number, total = addition.to(old and old.value)
            if total is None:
                return Sum(False, number)
            value = write_number(total)
            room.check(space, [(key, value)])
            room.put(key, value, old.due if old else _due(now, ttl))
            return Sum(True, total)

        return self._run(space, deadline, work)

    def admit(
        self,
        space: Space,
        prefix: bytes,
        limit: int,
        key: bytes,
        value: bytes,
        ttl: int | None,
        deadline: float,
    ) -> Admission:
        def work(room: _Room, now: int) -> Admission:
            current = room.value(key)
            if current is not None:
                return Admission(Outcome.PRESENT, current)
            if room.count(prefix) >= limit:
                return Admission(Outcome.FULL, None)
            room.check(space, [(key, value)])
            room.put(key, value, _due(now, ttl))
            return Admission(Outcome.ADDED, value)

        return self._run(space, deadline, work)

    def count(self, space: Space, prefix: bytes, deadline: float) -> int:
        return self._run(space, deadline, lambda room, _: room.count(prefix))

    def scan(
        self, space: Space, prefix: bytes, start: bytes, limit: int, deadline: float
    ) -> list[Entry]:
        def work(room: _Room, now: int) -> list[Entry]:
            first = bisect_left(room.order, start)
            last = bisect_left(room.order, after(prefix))
            keys = room.order[first : min(last, first + limit)]
            return [_entry(key, room.cells[key], now) for key in keys]

        return self._run(space, deadline, work)

    def names(self, deadline: float) -> list[str]:
        self.sweep(deadline)
        return sorted(name for name, room in self._rooms.items() if room.cells)

    def sweep(self, deadline: float) -> int:
        self._acquire(deadline)
        try:
            now = self._clock()
            return sum(room.sweep(now) for room in self._rooms.values())
        finally:
            self._lock.release()

    def close(self) -> None:
        """Do nothing: what is here would be lost."""


def _due(now: int, ttl: int | None) -> int | None:
    return None if ttl is None else now + ttl


def _entry(key: bytes, cell: _Cell, now: int) -> Entry:
    left = None if cell.due is None else (cell.due - now) / 1000
    return Entry(key, len(cell.value), left)
