"""Locks on open files: held by one process, and ended by the kernel however that process dies."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_NO_LOCKS: Final = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


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
