"""Files that one user alone may read and write: opened, checked, replaced whole, swept."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final, TypeAlias

from .. import osthread

#: A user and a group, which get what root makes for them; None: whoever makes it keeps it.
Owner: TypeAlias = tuple[int, int] | None

#: Flags for every file of ours: never through a symlink, never stuck on a pipe.
_SAFE: Final = (
    getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)
_TEMPORARY: Final = re.compile(r"\.[0-9a-f]{16}\.tmp")
_STALE: Final = 3600.0  # seconds after which nobody goes on with a temporary file


def is_root() -> bool:
    """Whether this process may do what any owner may."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def open_private(path: Path, flags: int = os.O_RDWR | os.O_CREAT, owner: Owner = None) -> int:
    """Open a file, made for this user alone, or for ``owner``; return the descriptor.

    :raises OSError: it cannot be opened, or is a link.
    """
    fd = os.open(path, flags | _SAFE, 0o600)
    try:
        status = os.fstat(fd)
        # Not a file of root's to which somebody who may write here has made a second name.
        if owner is not None and status.st_uid != owner[0] and status.st_nlink == 1:
            os.fchown(fd, *owner)
    except BaseException:
        os.close(fd)
        if flags & os.O_EXCL:
            discard(path)  # made by this very call
        raise
    return fd


def not_private(status: os.stat_result) -> str:
    """Say why a file or folder is not this user's alone; nothing if it is."""
    if not hasattr(os, "geteuid"):
        return ""  # Windows: the folder's access list is inherited from the user's profile
    if status.st_uid != os.geteuid():
        return f"belongs to user {status.st_uid}, not to {os.geteuid()}"
    mode = stat.S_IMODE(status.st_mode)
    return f"has mode {mode:04o}: others may use it" if mode & 0o077 else ""


def read(path: Path, limit: int) -> tuple[os.stat_result, bytes]:
    """Read a file of at most ``limit`` bytes that one of us wrote, with its status.

    :raises OSError: it is missing, unreadable, a link, not a file, another user's, or too large.
    """
    fd = open_private(path, os.O_RDONLY)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        if hasattr(os, "geteuid") and os.geteuid() not in (0, status.st_uid):
            raise OSError(errno.EPERM, f"it belongs to user {status.st_uid}", str(path))
        if status.st_size > limit:
            raise OSError(errno.EFBIG, f"it has more than {limit} bytes", str(path))
        with open(fd, "rb", closefd=False) as file:
            return status, file.read(status.st_size)
    finally:
        os.close(fd)


def write_whole(
    path: Path,
    chunks: Iterable[bytes | bytearray],
    *,
    durable: bool = False,
    replace: bool = True,
    owner: Owner = None,
    public: bool = False,
) -> None:
    """Put a file in place, whole and at once.

    :param durable: wait until it would survive a loss of power, where the folder can be synced.
    :param replace: if not, a file that is there stays.
    :param public: others may read it, from the first.
    :raises OSError: and then nothing has changed.
    """
    temporary = temporary_of(path)
    fd = open_private(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, owner)
    try:
        with open(fd, "wb") as file:
            file.writelines(chunks)
            file.flush()
            if public and hasattr(os, "fchmod"):
                os.fchmod(fd, 0o644)
            if durable:
                os.fsync(fd)
        if replace:
            os.replace(temporary, path)
        else:
            _link(temporary, path)
    except BaseException:
        discard(temporary)
        raise
    if durable:
        with contextlib.suppress(OSError):  # in place, and seen by all: an error would be a lie
            _sync(path.parent)


def temporary_of(path: Path) -> Path:
    """Return a new name beside a file, which `sweep` knows."""
    return path.with_name(f".{secrets.token_hex(8)}.tmp")


def discard(path: Path) -> None:
    """Remove a temporary file, if that can be done."""
    try:
        os.unlink(path)
    except OSError:
        pass  # swept, or not to be removed either: swept later


def sweep(folder: Path) -> None:
    """Remove temporary files that their writers, killed, left more than an hour ago.

    :raises OSError: the folder cannot be listed.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                # Either way round: after the clock has stepped back, too.
                if _TEMPORARY.fullmatch(entry.name) and _age(entry) > _STALE:
                    os.unlink(entry)
            except OSError:
                pass  # another worker sweeps too


def _age(entry: os.DirEntry[str]) -> float:
    return abs(time.time() - entry.stat(follow_symlinks=False).st_mtime)


def _link(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    except OSError:
        os.replace(temporary, path)  # a file system without hard links: the last one wins
        return
    discard(temporary)


def _sync(folder: Path) -> None:
    if os.name == "nt":
        return  # a folder cannot be opened there
    fd = os.open(folder, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        os.fsync(fd)
    finally:
        osthread.close(fd)
