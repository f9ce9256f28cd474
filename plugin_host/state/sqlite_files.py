"""Connections to a SQLite file: opened when needed, checked, kept, and closed before a fork."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final

from plugin_host import osthread
from plugin_host.errors import StateError, StateUnavailable

from ..files.private import is_root, open_private
from . import forking
from .numbers import Addition, write_number
from .sqlite_sql import APPLICATION, SCHEMA

_STATEMENTS: Final = 64  # kept prepared by each connection
_NAP: Final = 0.0005
#: Seconds that a fork waits for an operation that the disk holds up.
_PATIENCE: Final = 5.0


class Adder:
    """The function `ph_add` of one connection: what it adds, and what came of it."""

    def __init__(self) -> None:
        self.addition: Addition[int] | Addition[float] = Addition(0)
        self.number: int | float = 0  # before, or after if it is done
        self.done = False
        self.error: StateError | None = None

    def begin(self, addition: Addition[int] | Addition[float]) -> None:
        """Say what the next statement adds."""
        self.addition, self.done, self.error = addition, False, None

    def __call__(self, old: bytes | None) -> bytes | None:
        """Return the value of the sum, or NULL; changes nothing if asked again."""
        try:
            self.number, total = self.addition.to(old)
        except StateError as error:
            self.error = error
            return None
        self.done = total is not None
        if total is None:
            return None
        self.number = total
        return write_number(total)


class Connection(sqlite3.Connection):
    """A connection, its `Adder`, and which file it has open."""

    adder: Adder
    identity: tuple[int, int]

    def __del__(self) -> None:
        # A store that nobody refers to is closed with it; from Python 3.13 on that must be said.
        with suppress(sqlite3.Error):  # it was never opened
            self.close()


class Files:
    """The connections of one process to one file; each is used by one thread at a time.

    :param durable: wait for the disk at each commit.
    """

    def __init__(self, path: Path, durable: bool) -> None:
        self.path = path
        self.label = f"sqlite:///{path}"
        self._synchronous = "FULL" if durable else "NORMAL"
        self._idle: deque[Connection] = deque()
        self._inside: deque[None] = deque()  # one for each thread that is in SQLite, or about to be
        self._forking = False
        forking.watch(self)

    def enter(self) -> None:
        """Say that this thread will be in SQLite; waits while the process forks.

        SQLite's own locks would stay locked in a child if another thread held them at the fork.
        """
        self._inside.append(None)
        while self._forking:
            self._inside.pop()
            osthread.sleep(_NAP)
            self._inside.append(None)

    def leave(self) -> None:
        """Say that this thread is out of it."""
        self._inside.pop()

    def take(self) -> Connection:
        """Return a connection to the file that is at the path now.

        :raises sqlite3.Error: it cannot be opened.
        :raises StateUnavailable: it is not a file of ours.
        """
        try:
            connection = self._idle.pop()
        except IndexError:
            return self._open()
        if connection.identity == self._identity():
            return connection
        connection.close()  # somebody removed or replaced the file
        return self.take()

    def give(self, connection: Connection) -> None:
        """Keep a connection, which is in no transaction, for whoever comes next."""
        self._idle.append(connection)

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop().close()

    def before_fork(self) -> None:
        """Wait until nobody is in SQLite, and close all: no connection survives a fork."""
        self._forking = True
        patience = time.monotonic() + _PATIENCE
        while self._inside and time.monotonic() < patience:
            osthread.sleep(_NAP)
        self.close()

    def after_fork(self, in_child: bool) -> None:
        """Let threads in again."""
        if in_child:
            self._inside.clear()
        self._forking = False

    def _identity(self) -> tuple[int, int]:
        try:
            status = os.stat(self.path)
        except OSError:
            return (0, 0)
        return status.st_dev, status.st_ino

    def _open(self) -> Connection:
        self._make()
        connection = sqlite3.connect(
            self.path,
            timeout=0,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_STATEMENTS,
            factory=Connection,
        )
        try:
            connection.identity = self._identity()
            connection.adder = Adder()
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _make(self) -> None:
        """Make a missing file, private, and its folder's owner's if root is the one who helps.

        :raises StateUnavailable: that cannot be done; or that owner would have root follow a link.
        """
        folder = self.path.parent
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = os.stat(folder)
            if is_root() and status.st_uid != 0:
                self._check_links()
                if not os.path.exists(self.path):
                    os.close(open_private(self.path, owner=(status.st_uid, status.st_gid)))
            elif not os.path.exists(self.path):
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise StateUnavailable(
                self.label,
                f"the file cannot be made: {error.strerror or error}",
                "let the user that the server runs as write there, or set PLUGIN_HOST_STATE",
            ) from error

    def _check_links(self) -> None:
        """Refuse links and second names: SQLite makes what they lead to, and gives it away."""
        for suffix in ("", "-wal", "-shm", "-journal"):
            try:
                status = os.lstat(f"{self.path}{suffix}")
            except FileNotFoundError:
                continue
            if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
                raise StateUnavailable(
                    self.label,
                    f"{self.path.name}{suffix} is a link, and root follows none in a folder of user"
                    f" {os.stat(self.path.parent).st_uid}",
                    "do it as that user, or put the file itself there",
                )

    def _prepare(self, connection: Connection) -> None:
        connection.create_function("ph_add", 1, connection.adder)
        (found,) = connection.execute("PRAGMA application_id").fetchone()
        if found != APPLICATION:
            self._create(connection)
        connection.execute(f"PRAGMA synchronous={self._synchronous}")

    def _create(self, connection: Connection) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("BEGIN IMMEDIATE")
        try:
            (found,) = connection.execute("PRAGMA application_id").fetchone()
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if found != APPLICATION:  # another worker was quicker
                if found or tables:
                    raise StateUnavailable(
                        self.label,
                        "the file holds something else, or the state of another version of"
                        " flask-plugin-host",
                        "set PLUGIN_HOST_STATE to a file of its own",
                    )
                for statement in SCHEMA:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id={APPLICATION}")
            connection.execute("COMMIT")
        except BaseException:
            connection.rollback()
            raise
