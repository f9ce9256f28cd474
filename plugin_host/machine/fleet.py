"""Who serves on this machine: each worker publishes its state, and anybody lists those that live.

A worker's beacon is two files, ``workers/<pid>-<random>.lock`` and ``.json``. The first one's lock,
held while the worker lives, says that it does: the kernel gives it up however the worker ends, and
no number of a process that was used again can pass for it. A name is never used twice.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import secrets
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from plugin_host import osthread

from ..files.locking import Claim, try_lock
from ..files.private import open_private, read
from .datadir import DataDir, DataDirError, ours, unusable
from .moment import boot_id

_log = logging.getLogger("plugin_host")

_MAX_SIZE: Final = 16 * 1024 * 1024
#: Seconds for which a state counts as live where neither locks nor processes can be asked.
_FRESH: Final = 60.0


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What one live worker last published; times are Unix times."""

    pid: int
    since: float
    published_at: float
    status: dict[str, Any]


class _Presence:
    """The files of one process's beacon; gone when closed, without a trace when forked."""

    def __init__(self, datadir: DataDir, clock: Callable[[], float]) -> None:
        folder = datadir.folder("workers")
        self.pid = os.getpid()
        stem = f"{self.pid}-{secrets.token_hex(8)}"
        self.state, self._lock = folder / f"{stem}.json", folder / f"{stem}.lock"
        self.since = clock()
        self.head = {"pid": self.pid, "started": process_start(self.pid), "since": self.since}
        self._claim = datadir.claim(self._lock)  # held from the moment the name appears
        self.locked = self._claim is not None

    def holds(self) -> bool:
        """Whether it is this process's, and its files are where others look for them."""
        if self.pid != os.getpid():
            return False
        return self._claim is None or (self._claim.held and self._claim.is_at(self._lock))

    def close(self) -> None:
        claim = self._claim
        if self.pid != os.getpid():
            if claim is not None:
                claim.disown()
            return
        for path in (self.state, self._lock):  # in this order: no state without its lock
            try:
                path.unlink(missing_ok=True)
            except OSError:
                pass  # whoever lists the workers removes it then
        if claim is not None:
            claim.close()


class Beacon:
    """Publishes this process's state; made anew, lazily, in a forked child.

    Nothing is on disk before the first `publish`, nor after `close`, garbage collection or the
    process's end.
    """

    def __init__(self, datadir: DataDir, clock: Callable[[], float] = time.time) -> None:
        self._datadir = datadir
        self._clock = clock
        self._closed = False
        self._presence: list[_Presence] = []  # at most one; guarded by _lock
        self._lock = osthread.allocate_lock()
        self._complaint: str | None = None
        weakref.finalize(self, _close_all, self._presence)
        _beacons.add(self)

    @property
    def identity(self) -> tuple[int, float] | None:
        """The ``pid`` and ``since`` of this process's `WorkerState`; None before `publish`."""
        for presence in self._presence:
            if presence.pid == os.getpid():
                return presence.pid, presence.since
        return None

    def publish(self, status: dict[str, Any]) -> bool:
        """Let everybody see this state; return whether they can. What is no JSON becomes text.

        Never raises for what the file system refuses: one log line says so.
        """
        with self._lock:
            if self._closed:
                return False
            try:
                self._write(status)
            except (OSError, DataDirError) as error:
                self._complain(ours(self._datadir.path / "workers", error))
                return False
            self._complaint = None
            return True

    def close(self) -> None:
        """Disappear for good."""
        with self._lock:
            self._closed = True
            _close_all(self._presence)

    def _write(self, status: dict[str, Any]) -> None:
        if self._presence and not self._presence[0].holds():
            _close_all(self._presence)
        if not self._presence:
            self._presence.append(_Presence(self._datadir, self._clock))
        presence = self._presence[0]
        document = {
            **presence.head,
            "locked": presence.locked,
            "published_at": self._clock(),
            "status": status,
        }
        content = json.dumps(document, default=str).encode()
        self._datadir.write(presence.state, [content], durable=False)

    def _complain(self, error: Exception) -> None:
        text = str(error)
        if text != self._complaint:  # once, not at every publication
            _log.warning("this worker's state cannot be published: %s", text)
        self._complaint = text

    def _after_fork(self) -> None:
        self._lock = osthread.allocate_lock()
        self._presence.clear()  # the parent's; its file was closed in this process


_beacons: weakref.WeakSet[Beacon] = weakref.WeakSet()


def _close_all(presence: list[_Presence]) -> None:
    while presence:
        presence.pop().close()


def _after_fork_in_child() -> None:
    for beacon in list(_beacons):
        beacon._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def fleet(datadir: DataDir, clock: Callable[[], float] = time.time) -> list[WorkerState]:
    """Return the state of every worker that lives and has published one, oldest first.

    What dead workers left is removed.

    :raises DataDirError: the folder is not there and cannot be made, cannot be listed, or is not
        private.
    """
    folder = datadir.folder("workers")
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []  # removed meanwhile
    except OSError as error:
        raise unusable(folder, "listed", error) from error
    stems = {name[:-5] for name in names if name.endswith((".lock", ".json"))}
    states = [_look(folder, stem, clock) for stem in stems]
    return sorted((s for s in states if s is not None), key=lambda s: (s.since, s.pid))


def _look(folder: Path, stem: str, clock: Callable[[], float]) -> WorkerState | None:
    """Read one worker's state; None if it has none yet, or is dead and removed now."""
    lock, path = folder / f"{stem}.lock", folder / f"{stem}.json"
    try:
        live = _is_locked(lock)
        document = _read_state(path)
        if live is None and document is not None and not document["locked"]:
            live = _is_running(document, clock)
    except OSError:
        return None  # cannot be told now
    if not live:
        # Safe: no process ever takes up a name again.
        for each in (path, lock):
            try:
                each.unlink(missing_ok=True)
            except OSError:
                pass  # not ours to remove
        return None
    if document is None:
        return None
    return WorkerState(
        document["pid"], document["since"], document["published_at"], document["status"]
    )


def _is_locked(path: Path) -> bool | None:
    """Whether a living process holds the lock; None if there is no such file."""
    try:
        fd = open_private(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    claim = Claim(fd)
    try:
        # Shared: others who look at the same moment must not take us for the living.
        got = try_lock(fd, shared=True)
    finally:
        claim.close()
    if got is None:
        raise OSError(errno.ENOLCK, "no locks now, although there were", str(path))
    return not got


def _read_state(path: Path) -> dict[str, Any] | None:
    """Read a state; None if there is none, or it is not one."""
    try:
        document = json.loads(read(path, _MAX_SIZE)[1])
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    expected = {"pid": int, "since": float, "published_at": float, "status": dict, "locked": bool}
    valid = isinstance(document, dict) and all(
        isinstance(document.get(key), kind) for key, kind in expected.items()
    )
    return document if valid else None


def _is_running(document: dict[str, Any], clock: Callable[[], float]) -> bool:
    """Whether the process that wrote the state runs: the second best, where there are no locks."""
    pid = document["pid"]
    if pid <= 0:
        return False
    if os.path.isdir("/proc/self"):
        started = process_start(pid)
        return started is not None and started == str(document.get("started"))
    if os.name == "posix":
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            return True  # another user's
        return True
    published_at: float = document["published_at"]
    return abs(clock() - published_at) < _FRESH


def process_start(pid: int) -> str | None:
    """Return what tells a process from later ones of its number; None where nothing does."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            ticks = file.read().rpartition(b")")[2].split()[19]
        return f"{boot_id()}/{ticks.decode()}"
    except (OSError, IndexError):
        return None
