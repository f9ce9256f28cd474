"""Locks on open files: held by one process, and ended by the kernel however that process dies.

The name of a lock may go while somebody waits for it, so whoever got it looks whether the file is
still the one of that name, and starts again if it is not.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Final

from plugin_host import osthread

from .private import open_private

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_NO_LOCKS: Final = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
#: Seconds between two attempts at most. Waiting by `flock` itself cannot be bounded; one attempt
#: costs some microseconds, and other workers should notice the end of a compile in a few ms.
_LONGEST_NAP: Final = 0.005


class Claim:
    """An open file that is this process's alone, for the lock on it.

    A lock belongs to the open file, which a forked child shares. The child closes its copy at
    once, and does not unlock: or a killed parent's lock would live on in it, or a child's end
    would end its parent's.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        _claims.add(self)

    @property
    def fd(self) -> int:
        """The descriptor.

        :raises OSError: it is closed, or was the parent's.
        """
        if self._fd < 0:
            raise OSError(errno.EBADF, "the lock's file is closed in this process")
        return self._fd

    @property
    def held(self) -> bool:
        """Whether the file is open, in this process."""
        return self._fd >= 0

    def is_at(self, path: Path) -> bool:
        """Whether the open file is the one of that name."""
        try:
            return os.path.samestat(os.fstat(self.fd), os.lstat(path))
        except FileNotFoundError:
            return False

    def remove(self, path: Path) -> None:
        """Give up the lock, after removing the file of that name if it is this one."""
        try:
            if self.held and self.is_at(path):
                path.unlink()  # while it is locked: afterwards it may be another's
        except OSError:
            pass  # read-only, or open on Windows: the file stays, and the next holder takes it
        finally:
            self.close()

    def close(self) -> None:
        """Give up the lock, also for children that have a copy."""
        fd, self._fd = self._fd, -1
        _claims.discard(self)
        if fd < 0:
            return
        try:
            if fcntl is not None:
                fcntl.flock(fd, fcntl.LOCK_UN)
        except OSError:
            pass  # there are no locks here
        finally:
            os.close(fd)

    def disown(self) -> None:
        """Close this process's copy and leave the lock to those that have another."""
        fd, self._fd = self._fd, -1
        _claims.discard(self)
        if fd >= 0:
            os.close(fd)


_claims: set[Claim] = set()


def _disown_all() -> None:
    for claim in list(_claims):
        claim.disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)


def try_lock(fd: int, *, shared: bool = False) -> bool | None:
    """Lock an open file without waiting; None where platform or file system have no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        raise
    return True


def acquire(
    path: Path, timeout: float, opened: Callable[[Path], int] = open_private
) -> Claim | None:
    """Lock the file of that name, making it if need be; None if it did not come free in time.

    Where there are no locks nobody is kept out. Waiting sleeps this operating-system thread, and
    holds nothing meanwhile. Not re-entrant.

    :param timeout: seconds; 0 tries once.
    :param opened: opens the file.
    :raises OSError: the file cannot be made or locked.
    """
    deadline = monotonic() + timeout
    nap = 0.001
    while True:
        claim = Claim(opened(path))
        try:
            # The open file is tried again and again: that costs a tenth of opening it.
            while (got := try_lock(claim.fd)) is False and monotonic() < deadline:
                osthread.sleep(random.uniform(nap / 2, nap))  # noqa: S311  # not a secret
                nap = min(2 * nap, _LONGEST_NAP)
            if got is None or (got and claim.is_at(path)):
                return claim
        except BaseException:
            claim.close()
            raise
        claim.close()
        if not got:
            return None


def remove_if_free(path: Path) -> None:
    """Remove a lock's file if nobody holds the lock.

    :raises OSError: it is gone already, or cannot be opened.
    """
    claim = Claim(open_private(path, os.O_RDWR))
    try:
        if try_lock(claim.fd):
            claim.remove(path)
    finally:
        claim.close()
