"""The SQLite database: made once with sample data, one connection per app context."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from flask import Flask, current_app, g

from .once import publish_once

_SCHEMA = Path(__file__).with_name("schema.sql")
_VERSION = 1
_BUSY_SECONDS = 5.0


def init_app(app: Flask) -> None:
    """Create the database of `app` if it is missing, and close connections with their context.

    :raises RuntimeError: the file is not a database of this shop.
    """
    path = Path(app.config["DATABASE"])
    publish_once(path, _create)
    with contextlib.closing(connect(path)) as db:
        _check(db, path)
    app.teardown_appcontext(_close)


def connect(path: Path | str) -> sqlite3.Connection:
    """Open the database in autocommit mode; a writer waits up to five seconds for another."""
    db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA foreign_keys = ON")
    return db


def get_db() -> sqlite3.Connection:
    """Return the connection of the current app context."""
    if "shop_db" not in g:
        g.shop_db = connect(current_app.config["DATABASE"])
    db: sqlite3.Connection = g.shop_db
    return db


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Hold the write lock for the block; everything in it happens, or nothing does."""
    # IMMEDIATE: a lock that is upgraded after a read can fail at once instead of waiting.
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def is_busy(error: sqlite3.OperationalError) -> bool:
    """Say whether the database was only locked by others for too long."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _create(path: Path) -> None:
    with contextlib.closing(connect(path)) as db:
        db.executescript(f"BEGIN; {_SCHEMA.read_text('utf-8')} COMMIT;")
        # Recorded in the file, so that every later connection finds it; done before the file gets
        # its name, because switching the mode needs the database for itself.
        db.execute("PRAGMA journal_mode = WAL")


def _check(db: sqlite3.Connection, path: Path) -> None:
    remedy = "set DATABASE to another path, or move the file away and start again"
    try:
        version = db.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.DatabaseError as exc:
        raise RuntimeError(f"cannot use the database {path}: {exc}; {remedy}") from exc
    if version != _VERSION:
        raise RuntimeError(
            f"the database {path} has schema version {version}, the shop needs {_VERSION}; {remedy}"
        )


def _close(_error: BaseException | None) -> None:
    db: sqlite3.Connection | None = g.pop("shop_db", None)
    if db is not None:
        db.close()
