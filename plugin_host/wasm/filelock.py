"""Locks between processes and threads that end with their holder, also when it is killed.

A lock file is removed only by who holds its lock; so whoever got the lock looks whether the file
is still the one at that path, and starts again if it is not.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from time import monotonic

from .. import osthread
from .privatefiles import SAFE

#: Seconds between two attempts. Waiting by `flock` itself cannot be bounded; one attempt costs
#: some microseconds, and other workers should notice the end of a compile within a few ms.
POLL = 0.005

#: Descriptors whose lock a forked child would keep alive after this process's death.
_held: set[int] = set()

if sys.platform == "win32":

    def _try_lock(fd: int) -> bool:
        return True  # there is no flock: workers may compile the same module

    def _unlock(fd: int) -> None:
        pass
else:
    import fcntl

    def _try_lock(fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)


def _open(path: Path, flags: int) -> int:
    fd = os.open(path, flags | SAFE, 0o600)
    _held.add(fd)
    return fd


def _close(fd: int) -> None:
    # In this order: a child forked in between must not close a number that is in use again.
    _held.discard(fd)
    try:
        _unlock(fd)  # closing alone would not do it while a forked child has the descriptor
    except OSError:
        pass  # a file system without locks
    finally:
        os.close(fd)


class FileLock:
    """The exclusive lock named by a path; one object serves one holder once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None
        self._pid = os.getpid()

    def acquire(self, timeout: float) -> bool:
        """Take the lock within ``timeout`` seconds; return whether it is held.

        Waiting sleeps this operating-system thread and holds nothing meanwhile.

        :raises OSError: the lock file cannot be made, or the file system knows no locks.
        """
        if sys.platform == "win32":
            return True
        give_up = monotonic() + timeout
        while not self._attempt():
            if monotonic() >= give_up:
                return False
            osthread.sleep(POLL)
        return True

    def release(self) -> None:
        """Remove the lock file and give the lock back, if it is held."""
        fd, self._fd = self._fd, None
        if fd is None or self._pid != os.getpid():  # a forked child's copy holds nothing
            return
        try:
            if same_file(fd, self.path):
                self.path.unlink()  # while it is locked: see above
        except OSError:
            pass  # the folder is gone or read-only: the file stays, and the next holder takes it
        finally:
            _close(fd)

    def _attempt(self) -> bool:
        fd = _open(self.path, os.O_RDWR | os.O_CREAT)
        try:
            if _try_lock(fd) and same_file(fd, self.path):
                self._fd = fd
                return True
        finally:
            if self._fd is None:
                _close(fd)
        return False


def remove_if_free(path: Path) -> bool:
    """Remove a lock file that nobody has locked; return whether it was removed.

    :raises OSError: it cannot be opened or removed, for another reason than being gone.
    """
    try:
        fd = _open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        if not _try_lock(fd) or not same_file(fd, path):
            return False
        path.unlink()
        return True
    finally:
        _close(fd)


def same_file(fd: int, path: Path) -> bool:
    """Whether an open file is the one at a path."""
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False


def _after_fork() -> None:
    """The child holds none of its parent's locks: close, and leave the locks alone."""
    for fd in _held:
        os.close(fd)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
