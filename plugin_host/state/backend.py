"""What a backend does, and what its operations return."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Sequence
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from .numbers import Addition
from .quota import MAX_KEY, Space

#: The time of day in milliseconds: what expiry goes by.
Clock = Callable[[], int]

N = TypeVar("N", int, float)

_NS_PER_MS: Final = 1_000_000
_LONGEST_WAIT: Final = 86_400.0  # seconds


def wall_clock() -> int:
    """Return this machine's time of day in milliseconds."""
    return time.time_ns() // _NS_PER_MS


def time_left(deadline: float) -> float:
    """Return the seconds until a deadline, as much as locks and sockets can wait; 0 is none."""
    return max(0.0, min(deadline - time.monotonic(), _LONGEST_WAIT))


class Swap(NamedTuple):
    """Whether a conditional write was done, and what the key holds now; None is nothing."""

    done: bool
    value: bytes | None


class Sum(NamedTuple, Generic[N]):
    """Whether a number was changed, and what it is now."""

    done: bool
    value: N


class Outcome(enum.Enum):
    """What became of a key that wanted to be one of few."""

    ADDED = "added"
    PRESENT = "present"  # it was there before; nothing has changed
    FULL = "full"  # as many as may be are there; nothing has changed


class Admission(NamedTuple):
    """What became of a key that wanted to be one of few, and what it holds now."""

    outcome: Outcome
    value: bytes | None


class Entry(NamedTuple):
    """A key in a list, the size of its value in bytes, and the seconds that it has left."""

    key: bytes
    size: int
    ttl: float | None


class Page(NamedTuple):
    """Part of a list, and the cursor that its rest begins with; an empty one says there is none."""

    entries: tuple[Entry, ...]
    cursor: bytes


class Backend(Protocol):
    """A place where state is kept; each method is atomic, and ends by ``deadline``.

    Arguments have been checked. Keys that have expired are never seen. A ``ttl`` is in
    milliseconds; None is for ever. ``deadline`` is a `time.monotonic`, or infinite. All raise
    `StateUnavailable`; what writes raises `StateQuota` when there is no room, having changed
    nothing.
    """

    def read(self, space: Space, keys: Sequence[bytes], deadline: float) -> list[bytes | None]:
        """Return the values of these keys."""

    def write(
        self, space: Space, items: dict[bytes, bytes], ttl: int | None, deadline: float
    ) -> None:
        """Put all of these."""

    def remove(self, space: Space, keys: Sequence[bytes], deadline: float) -> int:
        """Delete these keys; return how many there were."""

    def swap(
        self,
        space: Space,
        key: bytes,
        expected: bytes | None,
        value: bytes | None,
        ttl: int | None,
        deadline: float,
    ) -> Swap:
        """Put ``value``, or delete if it is None, if the key holds ``expected``."""

    def add(
        self, space: Space, key: bytes, addition: Addition[N], ttl: int | None, deadline: float
    ) -> Sum[N]:
        """Add to a number; the ``ttl`` is for a key that this makes."""

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
        """Put a key that is not there if fewer than ``limit`` with this prefix are."""

    def count(self, space: Space, prefix: bytes, deadline: float) -> int:
        """Return how many keys have this prefix."""

    def scan(
        self, space: Space, prefix: bytes, start: bytes, limit: int, deadline: float
    ) -> list[Entry]:
        """Return at most ``limit`` keys with this prefix from ``start`` on, in order of bytes."""

    def names(self, deadline: float) -> list[str]:
        """Return the names of all namespaces that hold something, sorted."""

    def sweep(self, deadline: float) -> int:
        """Remove what has expired, in all namespaces; return how many keys."""

    def close(self) -> None:
        """Let go of files and connections; the next operation opens them again."""


def after(prefix: bytes) -> bytes:
    """Return a bound: all keys with this prefix are below it, and those beyond are not.

    Only keys of at most `MAX_KEY` bytes are below the bound of a prefix of 0xFF alone.
    """
    stem = prefix.rstrip(b"\xff")
    if not stem:
        return b"\xff" * (MAX_KEY + 1)
    return stem[:-1] + bytes([stem[-1] + 1])
