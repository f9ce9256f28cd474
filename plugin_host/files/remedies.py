"""What to do about what the operating system refuses, where its error tells."""

from __future__ import annotations

import errno
from typing import Final

_DISK: Final = "see the kernel's log: the disk, or the network's file system, has a fault"
_REMEDIES: Final = {
    errno.EMFILE: "raise the limit of open files: ulimit -n, or systemd's LimitNOFILE",
    errno.ENFILE: "raise the system's limit of open files, fs.file-max",
    errno.ENOMEM: "free memory",
    errno.EIO: _DISK,
    getattr(errno, "ESTALE", errno.EIO): _DISK,
}


def remedy(error: OSError, otherwise: str) -> str:
    """Return what helps against an error; ``otherwise`` where its kind does not tell."""
    return _REMEDIES.get(error.errno or 0, otherwise)
