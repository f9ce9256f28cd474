"""What the operations on a SQLite file do, given a connection to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar, cast

from plugin_host.errors import StateQuota

from . import sqlite_sql as sql
from .backend import Admission, Outcome, Sum, Swap
from .numbers import Addition, write_number
from .quota import Space, too_many_bytes, too_many_keys
from .sqlite_files import Connection

N = TypeVar("N", int, float)
T = TypeVar("T")

#: How many expired keys are removed at once.
SWEEP_BATCH = 100

#: A key, the value to be put there, and its TTL in milliseconds.
Item = tuple[bytes, bytes, int | None]


class Known(NamedTuple):
    """What the statements that write one key get; the numbers of parameters are its order."""

    space: str
    key: bytes
    now: int
    due: int | None
    max_keys: int
    max_bytes: int
    value: bytes


class NoRoom(Exception):
    """The namespace has no room for this; that some is made may help."""

    def __init__(self, known: Known) -> None:
        self.known = known
        super().__init__()


def known(space: Space, item: Item, now: int) -> Known:
    """Return what is known of a write that happens now."""
    key, value, ttl = item
    quota = space.quota
    due = None if ttl is None else now + ttl
    return Known(space.name, key, now, due, quota.max_keys, quota.max_bytes, value)


def make_room(db: Connection, space: Space, wanted: Known) -> None:
    """Sweep; if there is nothing to sweep and still no room, raise `StateQuota`."""
    if sweep(db, space.name, wanted.now):
        return
    if db.execute(sql.HAS_ROOM, wanted).fetchone()[0]:
        return  # it was not for want of room: another worker came in between
    raise full(db, space)


def full(db: Connection, space: Space) -> StateQuota:
    """Return the error for a namespace without room."""
    keys, _ = db.execute(sql.SUMS, (space.name,)).fetchone() or (0, 0)
    return too_many_keys(space) if keys >= space.quota.max_keys else too_many_bytes(space)


def sweep(db: Connection, space: str, now: int) -> int:
    """Remove up to `SWEEP_BATCH` keys that have expired; return how many."""
    return db.execute(sql.SWEEP, (space, now, SWEEP_BATCH)).rowcount


def all_spaces(db: Connection, _now: int) -> list[str]:
    """Return the names of all namespaces, also of those where everything has expired."""
    return [name for (name,) in db.execute(sql.SPACES).fetchall()]


def get(db: Connection, space: str, key: bytes, now: int) -> bytes | None:
    """Return a value."""
    row = db.execute(sql.GET, (space, key, now)).fetchone()
    return None if row is None else row[0]


def put(db: Connection, this: Known) -> None:
    """Put a value."""
    if not db.execute(sql.PUT, this).rowcount:
        raise NoRoom(this)


def put_if_absent(db: Connection, this: Known) -> Swap:
    """Put a value if there is none."""
    if db.execute(sql.PUT_IF_ABSENT, this).rowcount:
        return Swap(True, this.value)
    current = get(db, this.space, this.key, this.now)
    if current is None:
        raise NoRoom(this)
    return Swap(False, current)


def put_if_same(db: Connection, this: Known, expected: bytes) -> Swap:
    """Put a value in place of another one."""
    if db.execute(sql.PUT_IF_SAME, (*this, expected)).rowcount:
        return Swap(True, this.value)
    current = get(db, this.space, this.key, this.now)
    if current == expected:
        raise NoRoom(this)
    return Swap(False, current)


def drop(db: Connection, space: str, key: bytes, now: int, expected: bytes | None) -> Swap:
    """Delete a key that holds a value; with None, only look whether it is absent."""
    if expected is not None:
        if db.execute(sql.DELETE_IF_SAME, (space, key, now, expected)).rowcount:
            return Swap(True, None)
        current = get(db, space, key, now)
        return drop(db, space, key, now, expected) if current == expected else Swap(False, current)
    current = get(db, space, key, now)
    return Swap(current is None, current)


def add(db: Connection, this: Known, addition: Addition[N]) -> Sum[N]:
    """Add to a number."""
    adder = db.adder
    adder.begin(addition)
    written = db.execute(sql.ADD, this[:6]).rowcount
    if adder.error is not None:
        raise adder.error
    if adder.done and not written:
        raise NoRoom(this._replace(value=write_number(adder.number)))
    return Sum(adder.done, cast("N", adder.number))


def admit(db: Connection, this: Known, bounds: tuple[bytes, bytes, int]) -> Admission:
    """Put a key that is absent if fewer than so many are within the bounds."""
    # Most who come are in already, or too late: they read, and wait for nobody.
    asked = (*this, *bounds)
    current, fewer = db.execute(sql.ADMITTED, asked).fetchone()
    if current is not None:
        return Admission(Outcome.PRESENT, current)
    if not fewer:
        return Admission(Outcome.FULL, None)
    if db.execute(sql.PUT_IF_FEWER, asked).rowcount:
        return Admission(Outcome.ADDED, this.value)
    raise NoRoom(this)


def put_all(
    db: Connection,
    space: Space,
    items: dict[bytes, bytes],
    ttl: int | None,
    now: int,
    check: Callable[[], None],
) -> None:
    """Put several values, or none if there is no room for all.

    :param check: called before each; may raise, and then none is put.
    """
    due = None if ttl is None else now + ttl

    def work() -> None:
        keys, size = _sums(db, space)
        rows = ((space.name, key, value, due) for key, value in items.items())
        db.executemany(sql.PUT_ANYWAY, paced(rows, check))
        while True:
            new_keys, new_size = _sums(db, space)
            too_many = new_keys > max(keys, space.quota.max_keys)
            if not too_many and new_size <= max(size, space.quota.max_bytes):
                return
            if not sweep(db, space.name, now):
                raise too_many_keys(space) if too_many else too_many_bytes(space)

    _together(db, work)


def _sums(db: Connection, space: Space) -> tuple[int, int]:
    row = db.execute(sql.SUMS, (space.name,)).fetchone()
    return (0, 0) if row is None else row


def delete_all(
    db: Connection, space: str, keys: Iterable[bytes], now: int, check: Callable[[], None]
) -> int:
    """Delete several keys; return how many there were.

    :param check: called before each; may raise, and then none is deleted.
    """
    rows = ((space, key, now) for key in keys)
    return _together(db, lambda: db.executemany(sql.DELETE, paced(rows, check)).rowcount)


def paced(rows: Iterable[T], check: Callable[[], None]) -> Iterator[T]:
    """Yield rows, and look at the time before each: a thousand large ones are much work."""
    for row in rows:
        check()
        yield row


def _together(db: Connection, work: Callable[[], T]) -> T:
    """Do it in one transaction."""
    db.execute("BEGIN IMMEDIATE")
    try:
        result = work()
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return result


def code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code; 0 if the error did not come from SQLite."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
