"""One namespace of a store, and all that can be done with it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

from plugin_host.errors import StateCode, StateQuota, StateValueError

from .backend import Admission, Backend, Page, Sum, Swap
from .cursor import cursor_after, start_of
from .numbers import I64_MAX, I64_MIN, Addition
from .quota import Quota, Space, too_many_bytes

N = TypeVar("N", int, float)

#: Keys or items in one operation.
MAX_BATCH: Final = 1000
#: Keys in one page of a list.
MAX_PAGE: Final = 1000
#: The longest TTL, in seconds: a hundred years.
MAX_TTL: Final = 100 * 366 * 86_400.0
#: The highest limit of `put_if_fewer_than`.
MAX_LIMIT: Final = (1 << 53) - 1


class Namespace:
    """Keys and values, both bytes, that others do not see.

    Every operation is atomic, and raises `StateUnavailable` when it is not done by ``deadline``,
    which is a `time.monotonic`, or infinite. A ``ttl`` is in seconds; without one a key stays until
    it is deleted. Errors of arguments are `StateQuota` for what is too large and `StateValueError`
    for the rest; what raises them has changed nothing.
    """

    __slots__ = ("_backend", "_space")

    def __init__(self, backend: Backend, name: str, quota: Quota) -> None:
        self._backend = backend
        self._space = Space(name, quota)

    @property
    def name(self) -> str:
        """The namespace's name."""
        return self._space.name

    @property
    def quota(self) -> Quota:
        """What it may hold."""
        return self._space.quota

    def get(self, key: bytes, *, deadline: float) -> bytes | None:
        """Return the value; None if there is no such key."""
        return self._backend.read(self._space, (self._key(key),), deadline)[0]

    def get_many(self, keys: Sequence[bytes], *, deadline: float) -> list[bytes | None]:
        """Return the values of up to `MAX_BATCH` keys, in their order, as of one moment."""
        if not self._batch(keys):
            return []
        return self._backend.read(self._space, keys, deadline)

    def put(self, key: bytes, value: bytes, *, deadline: float, ttl: float | None = None) -> None:
        """Put a value, whatever there was; a TTL that the key had is gone.

        :raises StateQuota: there is no room.
        """
        items = {self._key(key): self._value(key, value)}
        self._backend.write(self._space, items, _milliseconds(ttl), deadline)

    def put_many(
        self,
        items: Iterable[tuple[bytes, bytes]],
        *,
        deadline: float,
        ttl: float | None = None,
    ) -> None:
        """Put up to `MAX_BATCH` keys, all or none; of equal ones the last counts.

        :raises StateQuota: there is no room for all.
        """
        wanted = dict(items)
        if self._batch(wanted):
            for key, value in wanted.items():
                self._value(key, value)
            self._backend.write(self._space, wanted, _milliseconds(ttl), deadline)

    def delete(self, key: bytes, *, deadline: float) -> bool:
        """Delete a key; return whether there was one."""
        return self._backend.remove(self._space, (self._key(key),), deadline) == 1

    def delete_many(self, keys: Iterable[bytes], *, deadline: float) -> int:
        """Delete up to `MAX_BATCH` keys at once; return how many there were."""
        unique = tuple(dict.fromkeys(keys))
        return self._backend.remove(self._space, unique, deadline) if self._batch(unique) else 0

    def put_if_absent(
        self, key: bytes, value: bytes, *, deadline: float, ttl: float | None = None
    ) -> Swap:
        """Put a value if there is no such key.

        :raises StateQuota: there is no room.
        """
        return self.compare_and_set(key, None, value, deadline=deadline, ttl=ttl)

    def compare_and_set(
        self,
        key: bytes,
        expected: bytes | None,
        value: bytes | None,
        *,
        deadline: float,
        ttl: float | None = None,
    ) -> Swap:
        """Put ``value`` if the key holds ``expected``.

        :param expected: None: there is no such key.
        :param value: None: delete the key.
        :raises StateQuota: there is no room.
        """
        self._key(key)
        if value is not None:
            self._value(key, value)
        life = _milliseconds(ttl)
        return self._backend.swap(self._space, key, expected, value, life, deadline)

    def add(
        self,
        key: bytes,
        delta: int,
        *,
        deadline: float,
        floor: int | None = None,
        ceiling: int | None = None,
        ttl: float | None = None,
    ) -> Sum[int]:
        """Add to an i64, unless the sum would leave the bounds; no key counts as 0.

        :param ttl: for a key that this makes; one that is there keeps its own.
        :raises StateTypeError: the key holds no i64.
        :raises StateValueError: the sum is none.
        :raises StateQuota: there is no room.
        """
        for number in (delta, floor, ceiling):
            if number is not None and not I64_MIN <= number <= I64_MAX:
                raise _wrong("number", f"{number} is not an i64")
        return self._backend.add(
            self._space, self._key(key), _addition(delta, floor, ceiling), _milliseconds(ttl),
            deadline,
        )  # fmt: skip

    def add_float(
        self,
        key: bytes,
        delta: float,
        *,
        deadline: float,
        floor: float | None = None,
        ceiling: float | None = None,
        ttl: float | None = None,
    ) -> Sum[float]:
        """Add to an f64, or to an i64 as if it were one; otherwise like `add`.

        Neither numbers nor sums may be infinite or NaN.
        """
        bounds = [None if number is None else _finite(number) for number in (floor, ceiling)]
        return self._backend.add(
            self._space, self._key(key), _addition(_finite(delta), *bounds), _milliseconds(ttl),
            deadline,
        )  # fmt: skip

    def put_if_fewer_than(
        self,
        prefix: bytes,
        limit: int,
        key: bytes,
        value: bytes,
        *,
        deadline: float,
        ttl: float | None = None,
    ) -> Admission:
        """Put a key if fewer than ``limit`` keys have this prefix: never one more gets in.

        A key that is there stays as it is, whatever the limit: who is in, is in.

        :param prefix: the key begins with it.
        :raises StateQuota: there is no room.
        """
        self._prefix(prefix)
        self._value(self._key(key), value)
        if not key.startswith(prefix):
            raise _wrong("prefix", "the key does not begin with the prefix")
        if not 0 <= limit <= MAX_LIMIT:
            raise _wrong("limit", f"a limit of {limit} is not between 0 and {MAX_LIMIT}")
        life = _milliseconds(ttl)
        return self._backend.admit(self._space, prefix, limit, key, value, life, deadline)

    def count(self, prefix: bytes = b"", *, deadline: float) -> int:
        """Return how many keys have this prefix."""
        return self._backend.count(self._space, self._prefix(prefix), deadline)

    def list(
        self, prefix: bytes = b"", *, deadline: float, cursor: bytes = b"", limit: int = 100
    ) -> Page:
        """Return keys with this prefix, in the order of their bytes.

        Keys that are there from the first page to the last are listed exactly once; others
        perhaps.

        :param cursor: the last page's.
        """
        self._prefix(prefix)
        if not 1 <= limit <= MAX_PAGE:
            raise _wrong("limit", f"a limit of {limit} is not between 1 and {MAX_PAGE}")
        start = start_of(self.name, prefix, cursor)
        found = self._backend.scan(self._space, prefix, start, limit + 1, deadline)
        if len(found) <= limit:
            return Page(tuple(found), b"")
        return Page(tuple(found[:limit]), cursor_after(self.name, prefix, found[limit - 1].key))

    def _key(self, key: bytes) -> bytes:
        if not key:
            raise _wrong("key", "the key is empty")
        if len(key) > self._space.quota.max_key:
            raise _large("key_size", "key", len(key), self._space.quota.max_key)
        return key

    def _prefix(self, prefix: bytes) -> bytes:
        if len(prefix) > self._space.quota.max_key:
            raise _large("key_size", "prefix", len(prefix), self._space.quota.max_key)
        return prefix

    def _value(self, key: bytes, value: bytes) -> bytes:
        if len(value) > self._space.quota.max_value:
            raise _large("value_size", "value", len(value), self._space.quota.max_value)
        if len(key) + len(value) > self._space.quota.max_bytes:
            raise too_many_bytes(self._space)
        return value

    def _batch(self, keys: Iterable[bytes]) -> int:
        number = 0
        for number, key in enumerate(keys, 1):  # noqa: B007  # the last one counts
            self._key(key)
        if number > MAX_BATCH:
            raise _wrong("batch", f"{number} keys in one operation are more than {MAX_BATCH}")
        return number


def _wrong(code: StateCode, what: str) -> StateValueError:
    return StateValueError(f"{what}; correct the call", code)


def _large(code: StateCode, what: str, size: int, limit: int) -> StateQuota:
    return StateQuota(f"a {what} of {size} bytes is larger than the {limit} allowed", code)


def _milliseconds(ttl: float | None) -> int | None:
    if ttl is None:
        return None
    if not 0 < ttl <= MAX_TTL:  # a NaN is not, either
        raise _wrong("ttl", f"a TTL of {ttl} seconds is not above 0 and at most {MAX_TTL:.0f}")
    return math.ceil(round(ttl * 1000, 3))  # 16.1 * 1000 is a little more than 16100


def _finite(number: float) -> float:
    try:
        real = float(number)
    except OverflowError:
        real = math.inf
    if not math.isfinite(real):
        raise _wrong("number", f"{real} is not a finite number")
    return real


def _addition(delta: N, floor: N | None, ceiling: N | None) -> Addition[N]:
    if floor is not None and ceiling is not None and floor > ceiling:
        raise _wrong("number", f"the floor {floor} is above the ceiling {ceiling}")
    return Addition(delta, floor, ceiling)
