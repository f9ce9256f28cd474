"""State in a SQLite file, which all workers of a machine share."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final, TypeVar, cast

from plugin_host import osthread
from plugin_host.errors import StateError, StateUnavailable

from . import sqlite_sql as sql
from . import sqlite_work as does
from .backend import Admission, Clock, Entry, Sum, Swap, after, time_left, wall_clock
from .numbers import Addition
from .quota import Space
from .sqlite_files import Connection, Files

N = TypeVar("N", int, float)
T = TypeVar("T")

#: How often a process that writes looks for expired keys of the namespace, in milliseconds.
_SWEEP_EVERY: Final = 1000
_LONGEST_NAP: Final = 0.002
_BUSY: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

#: By the primary code of SQLite: the cause, and the remedy.
_TROUBLES: Final = {
    sqlite3.SQLITE_FULL: ("the disk is full", "make space; what is there can still be read"),
    sqlite3.SQLITE_IOERR: ("the disk fails, or is full", "look at the disk and the file's limits"),
    sqlite3.SQLITE_READONLY: (
        "the file or its folder is read-only",
        "let the user that the server runs as write there",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "the file cannot be opened",
        "let the user that the server runs as read and write the file and its folder",
    ),
    sqlite3.SQLITE_CORRUPT: (
        "the file is damaged",
        "restore it from a backup, or move it and its -wal away to begin anew",
    ),
    sqlite3.SQLITE_NOTADB: (
        "the file is damaged, or no SQLite database",
        "restore it from a backup, or move it and its -wal away to begin anew",
    ),
}


class SqliteBackend:
    """A `Backend` for the workers of one machine.

    :param durable: what was written survives a loss of power, too; each write waits for the disk.
    :param clock: the time of day, by which keys expire.
    """

    def __init__(self, path: Path, durable: bool = False, clock: Clock = wall_clock) -> None:
        self._files = Files(path, durable)
        self._clock = clock
        self._sweep_at: dict[str, int] = {}

    def _run(self, deadline: float, work: Callable[[Connection, int], T]) -> T:
        """Do something on a connection; again and again while the file is locked."""
        nap = _LONGEST_NAP / 16
        while True:
            left = time_left(deadline)
            if not left:
                raise self._late(nap > _LONGEST_NAP / 16)
            try:
                return self._try(work)
            except sqlite3.Error as error:
                if not does.code(error):
                    raise  # not SQLite's doing, but ours
                if does.code(error) not in _BUSY:
                    raise self._unavailable(error) from error
            # As many workers wait as there are: whoever sleeps a random time meets fewer.
            osthread.sleep(min(left, random.uniform(nap / 2, nap)))  # noqa: S311  # not a secret
            nap = min(2 * nap, _LONGEST_NAP)

    def _try(self, work: Callable[[Connection, int], T]) -> T:
        self._files.enter()
        try:
            return self._on_connection(work)
        finally:
            self._files.leave()

    def _on_connection(self, work: Callable[[Connection, int], T]) -> T:
        connection = self._files.take()
        try:
            result = work(connection, self._clock())
        except StateError:
            self._files.give(connection)
            raise
        except sqlite3.Error as error:
            if does.code(error) in _BUSY and not connection.in_transaction:
                self._files.give(connection)
            else:
                connection.close()
            raise
        except BaseException:
            connection.close()
            raise
        self._files.give(connection)
        return result

    def _late(self, locked: bool) -> StateUnavailable:
        if not locked:
            return StateUnavailable(
                self._files.label, "the deadline has passed", "give the hook a longer timeout_ms"
            )
        return StateUnavailable(
            self._files.label,
            "the file was locked by others until the deadline",
            "see who (lsof names it); many writers are better off with Redis",
        )

    def _unavailable(self, error: sqlite3.Error) -> StateUnavailable:
        cause, remedy = _TROUBLES.get(
            does.code(error), ("SQLite does not do it", "look at the file and its folder")
        )
        return StateUnavailable(self._files.label, f"{cause} ({error})", remedy)

    def _write(
        self,
        space: Space,
        item: does.Item,
        deadline: float,
        work: Callable[[Connection, does.Known], T],
    ) -> T:
        """Do something that writes one key; again after it had no room and some was made.

        ``work`` ends with the statement that writes: what failed after it would repeat it.
        """

        def attempt(db: Connection, now: int) -> T:
            while True:
                try:
                    return work(db, does.known(space, item, now))
                except does.NoRoom as refused:
                    does.make_room(db, space, refused.known)
                if time.monotonic() >= deadline:
                    raise self._late(locked=False)

        result = self._run(deadline, attempt)
        self._tidy(space)
        return result

    def _tidy(self, space: Space) -> None:
        """Remove some of what has expired, now and then; whoever writes next may do it, too."""
        now = self._clock()
        if now < self._sweep_at.get(space.name, 0):
            return
        try:
            swept = self._try(lambda db, now: does.sweep(db, space.name, now))
        except (sqlite3.Error, StateError):
            return  # nobody sees what has expired, and what was to be done is done
        self._sweep_at[space.name] = now if swept == does.SWEEP_BATCH else now + _SWEEP_EVERY

    def read(self, space: Space, keys: Sequence[bytes], deadline: float) -> list[bytes | None]:
        if len(keys) == 1:
            return [self._run(deadline, lambda db, now: does.get(db, space.name, keys[0], now))]
        statement = sql.get_many(len(keys))
        check = self._pace(deadline)

        def work(db: Connection, now: int) -> dict[bytes, bytes]:
            with closing(db.execute(statement, (space.name, *keys, now))) as rows:
                return dict(does.paced(rows, check))

        found = self._run(deadline, work)
        return [found.get(key) for key in keys]

    def _pace(self, deadline: float) -> Callable[[], None]:
        """Return what raises `StateUnavailable` once the deadline has passed."""

        def check() -> None:
            if time.monotonic() >= deadline:
                raise self._late(locked=False)

        return check

    def write(
        self, space: Space, items: dict[bytes, bytes], ttl: int | None, deadline: float
    ) -> None:
        if len(items) > 1:
            check = self._pace(deadline)
            self._run(deadline, lambda db, now: does.put_all(db, space, items, ttl, now, check))
            self._tidy(space)
            return
        ((key, value),) = items.items()
        self._write(space, (key, value, ttl), deadline, does.put)

    def remove(self, space: Space, keys: Sequence[bytes], deadline: float) -> int:
        if len(keys) > 1:
            check = self._pace(deadline)
            return self._run(
                deadline, lambda db, now: does.delete_all(db, space.name, keys, now, check)
            )
        return self._run(
            deadline, lambda db, now: db.execute(sql.DELETE, (space.name, keys[0], now)).rowcount
        )

    def swap(
        self,
        space: Space,
        key: bytes,
        expected: bytes | None,
        value: bytes | None,
        ttl: int | None,
        deadline: float,
    ) -> Swap:
        if value is None:
            return self._run(
                deadline, lambda db, now: does.drop(db, space.name, key, now, expected)
            )
        item = (key, value, ttl)
        if expected is None:
            return self._write(space, item, deadline, does.put_if_absent)
        return self._write(
            space, item, deadline, lambda db, known: does.put_if_same(db, known, expected)
        )

    def add(
        self, space: Space, key: bytes, addition: Addition[N], ttl: int | None, deadline: float
    ) -> Sum[N]:
        return self._write(
            space, (key, b"", ttl), deadline, lambda db, known: does.add(db, known, addition)
        )

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
        bounds = (prefix, after(prefix), limit)
        return self._write(
            space, (key, value, ttl), deadline, lambda db, known: does.admit(db, known, bounds)
        )

    def count(self, space: Space, prefix: bytes, deadline: float) -> int:
        bounds = (None, None, None, None, prefix, after(prefix))
        return cast(
            "int",
            self._run(
                deadline,
                lambda db, now: db.execute(sql.COUNT, (space.name, None, now, *bounds)).fetchone()[
                    0
                ],
            ),
        )

    def scan(
        self, space: Space, prefix: bytes, start: bytes, limit: int, deadline: float
    ) -> list[Entry]:
        def work(db: Connection, now: int) -> list[Entry]:
            rows = db.execute(sql.LIST, (space.name, start, now, limit, after(prefix))).fetchall()
            return [
                Entry(key, size, None if due is None else (due - now) / 1000)
                for key, size, due in rows
            ]

        return self._run(deadline, work)

    def names(self, deadline: float) -> list[str]:
        return self._run(
            deadline, lambda db, now: [name for (name,) in db.execute(sql.NAMES, (now,)).fetchall()]
        )

    def sweep(self, deadline: float) -> int:
        total = 0
        for name in self._run(deadline, does.all_spaces):
            swept = does.SWEEP_BATCH
            while swept == does.SWEEP_BATCH:
                swept = self._run(deadline, partial(_sweep_space, name))
                total += swept
        return total

    def close(self) -> None:
        self._files.close()


def _sweep_space(name: str, db: Connection, now: int) -> int:
    return does.sweep(db, name, now)
