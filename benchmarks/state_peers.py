"""The work of the store by hand, with `sqlite3` and redis-py, as one would first write it."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any, Protocol

from plugin_host.config import StateUrl


class Peer(Protocol):
    """A candidate; it has those of the works that can be written so."""

    name: str

    def close(self) -> None:
        """Let go."""


class PlainSqlite:
    """One table, one connection, explicit transactions; no TTL, no quota, no sums."""

    name = "plain sqlite3"

    def __init__(self, path: Path, many: int) -> None:
        self._many = many
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("CREATE TABLE t(key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")
        self._db.execute("BEGIN")
        rows = [(b"id/%06d" % n, b"1") for n in range(many)]
        self._db.executemany("INSERT INTO t VALUES(?, ?)", rows)
        self._db.executemany("INSERT INTO t VALUES(?, ?)", [(b"k", b"v" * 100), (b"n", b"0")])
        self._db.execute("COMMIT")

    def close(self) -> None:
        """Let go."""
        self._db.close()

    def get(self, _: Any) -> object:
        """One value."""
        return self._db.execute("SELECT value FROM t WHERE key = ?", (b"k",)).fetchone()[0]

    def get_ten(self, keys: list[bytes]) -> object:
        """Ten values."""
        marks = ",".join("?" * len(keys))
        statement = f"SELECT key, value FROM t WHERE key IN ({marks})"
        by_key = dict(self._db.execute(statement, keys).fetchall())
        return [by_key.get(key) for key in keys]

    def put(self, value: bytes) -> object:
        """One value over another."""
        return self._db.execute("INSERT OR REPLACE INTO t VALUES(?, ?)", (b"p", value))

    def add(self, _: Any) -> object:
        """One more, below a ceiling."""
        self._db.execute("BEGIN IMMEDIATE")
        number = int(self._db.execute("SELECT value FROM t WHERE key = ?", (b"n",)).fetchone()[0])
        if number < 1 << 40:
            self._db.execute("UPDATE t SET value = ? WHERE key = ?", (b"%d" % (number + 1), b"n"))
        return self._db.execute("COMMIT")

    def admitted(self, _: Any) -> object:
        """A buyer who is in already."""
        return self._admit(b"id/000007", self._many)

    def refused(self, _: Any) -> object:
        """A buyer who is too late."""
        return self._admit(b"id/x", self._many)

    def admit(self, key: bytes) -> object:
        """A buyer who gets in."""
        return self._admit(key, 1 << 40)

    def _admit(self, key: bytes, limit: int) -> bool:
        self._db.execute("BEGIN IMMEDIATE")
        known = self._db.execute("SELECT 1 FROM t WHERE key = ?", (key,)).fetchone()
        admitted = known is None and self._count() < limit
        if admitted:
            self._db.execute("INSERT INTO t VALUES(?, ?)", (key, b"1"))
        self._db.execute("COMMIT")
        return admitted

    def count(self, _: Any) -> object:
        """All buyers."""
        return self._count()

    def _count(self) -> int:
        statement = "SELECT count(*) FROM t WHERE key >= ? AND key < ?"
        (number,) = self._db.execute(statement, (b"id/", b"id0")).fetchone()
        return int(number)


class PlainRedis:
    """redis-py's client, one command after the other; buyers in a hash: a race, but quick."""

    name = "plain redis-py"

    def __init__(self, url: StateUrl, many: int) -> None:
        import redis

        self._many = many
        self._client = redis.Redis(unix_socket_path=str(url.path))
        for start in range(0, many, 1000):
            buyers = [f"{n:06}" for n in range(start, start + 1000)]
            self._client.hset("plain:id", mapping=dict.fromkeys(buyers, 1))
            self._client.mset({f"id/{buyer}": 1 for buyer in buyers})
        self._client.set("k", b"v" * 100)
        self._client.set("n", 0)

    def close(self) -> None:
        """Let go."""
        self._client.close()

    def get(self, _: Any) -> object:
        """One value."""
        return self._client.get("k")

    def get_ten(self, keys: list[bytes]) -> object:
        """Ten values."""
        return self._client.mget(keys)

    def put(self, value: bytes) -> object:
        """One value over another."""
        return self._client.set("p", value)

    def put_ttl(self, value: bytes) -> object:
        """The same with a TTL."""
        return self._client.set("t", value, ex=60)

    def add(self, _: Any) -> object:
        """One more; no ceiling."""
        return self._client.incrby("n", 1)

    def admitted(self, _: Any) -> object:
        """A buyer who is in already."""
        return self._client.hexists("plain:id", "000007")

    def refused(self, _: Any) -> object:
        """A buyer who is too late."""
        return self._client.hexists("plain:id", "x"), self._client.hlen("plain:id")

    def admit(self, key: bytes) -> object:
        """A buyer who gets in, and perhaps one too many."""
        if not self._client.hexists("plain:id", key) and self._client.hlen("plain:id") < 1 << 40:
            return self._client.hset("plain:id", key, b"1")
        return None

    def count(self, _: Any) -> object:
        """All buyers."""
        return self._client.hlen("plain:id")


class RedisServer:
    """A server on a socket of this machine, for one run."""

    def __init__(self, process: subprocess.Popen[bytes], url: StateUrl) -> None:
        self._process = process
        self.url = url

    @classmethod
    def start(cls, folder: Path) -> RedisServer | None:
        """Start one; None if there is none to start, or no client."""
        try:
            import redis  # noqa: F401  # whether it is there
        except ImportError:
            return None
        program = shutil.which("redis-server")
        if program is None:
            return None
        path = folder / "redis.sock"
        command = [program, "--port", "0", "--unixsocket", str(path), "--dir", str(folder)]
        command += ["--save", "", "--appendonly", "yes", "--appendfsync", "everysec"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ)
        made = cls(process, StateUrl("unix", path, port=6379))
        made._wait(path)
        return made

    @staticmethod
    def _wait(path: Path) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                with socket.socket(socket.AF_UNIX) as probe:
                    return probe.connect(str(path))
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
