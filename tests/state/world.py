"""What the tests of the store share: a clock, a Redis server of their own, the three backends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from plugin_host.config import StateUrl
from plugin_host.config.stateurl import parse_state
from plugin_host.state import Namespace, Quota
from plugin_host.state.backend import Backend, Clock
from plugin_host.state.memory import MemoryBackend
from plugin_host.state.sqlite import SqliteBackend

#: Seconds until a test gives up waiting; a busy machine is slow.
PATIENCE: Final = 60.0


def soon(seconds: float = PATIENCE) -> float:
    """A deadline."""
    return time.monotonic() + seconds


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that happens elsewhere."""
    deadline = soon()
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.01)


class ManualClock:
    """A time of day, in milliseconds, that the test turns."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now

    def pass_time(self, seconds: float) -> None:
        """Turn it."""
        self.now += round(seconds * 1000)


class RedisServer:
    """A Redis server on the loopback interface, which can be killed and started again."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options
        self.socket = folder / "redis.sock"
        self.tls_port = 0
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--unixsocket", str(self.socket), "--dir", str(self.folder)]
        command += ["--save", "", "--loglevel", "warning", *self.options]
        with open(self.folder / "redis.log", "ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until(self._answers, "redis-server")

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(os.fspath(self.socket))
                probe.sendall(b"PING\r\n")
                return probe.recv(100).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def freeze(self, frozen: bool) -> None:
        """Stop it without closing its connections, or let it go on."""
        os.kill(self.pid, signal.SIGSTOP if frozen else signal.SIGCONT)

    def url(self, more: str = "") -> StateUrl:
        """Its URL."""
        made = parse_state(f"redis://127.0.0.1:{self.port}/0{more}")
        assert made is not None
        return made


class World:
    """A backend of one kind and what is in it; each world begins empty."""

    def __init__(self, kind: str, folder: Path, server: RedisServer | None) -> None:
        self.kind = kind
        self.folder = folder
        self.server = server
        self.clock = ManualClock()
        self.backends: list[Backend] = []

    def backend(self, clock: Clock | None = None) -> Backend:
        """A backend; where there are processes it sees what the others of this world see."""
        made = self._make(clock or self.clock)
        self.backends.append(made)
        return made

    def _make(self, clock: Clock) -> Backend:
        if self.kind == "memory":
            return MemoryBackend(clock)
        if self.kind == "sqlite":
            return SqliteBackend(self.folder / "state.sqlite3", clock=clock)
        from plugin_host.state.redis import RedisBackend

        assert self.server is not None
        return RedisBackend(self.server.url(f"?prefix={self.folder.name}"), clock)

    def namespace(self, name: str = "shop", quota: Quota | None = None) -> Namespace:
        """A namespace in this world's first backend."""
        backend = self.backends[0] if self.backends else self.backend()
        return Namespace(backend, name, quota or Quota())

    def close(self) -> None:
        """Let go of everything."""
        for backend in self.backends:
            backend.close()
