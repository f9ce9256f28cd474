"""Files that this user alone may read and write, and the key that is one of them."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from pathlib import Path

#: Flags for every file of ours: never through a symlink, never stuck on a pipe.
SAFE = (
    getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)

#: The key that artefacts are signed with: a file of this many random bytes.
KEY_FILE = "key"
KEY_SIZE = 32


class Unusable(Exception):
    """The folder cannot be used; the text says why and what to do."""


def not_private(info: os.stat_result) -> str:
    """Why a file or folder is not this user's alone, or nothing."""
    if not hasattr(os, "geteuid"):
        return ""  # Windows: the folder's access list is inherited from the user's profile
    if info.st_uid != os.geteuid():
        return f"belongs to user {info.st_uid}, not to {os.geteuid()}"
    mode = stat.S_IMODE(info.st_mode)
    return f"has mode {mode:04o}: others may use it" if mode & 0o077 else ""


def write_whole(
    path: Path, content: bytes | bytearray, trailer: bytes = b"", replace: bool = True
) -> None:
    """Put a file in place at once; without ``replace``, whoever was first wins.

    :raises OSError: it cannot be written; nothing is left behind.
    """
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE, 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(content)
            file.write(trailer)
        if replace:
            os.replace(temporary, path)
        else:
            _link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_or_make_key(directory: Path) -> bytes:
    """This installation's key; made at the first use and whenever it is not beyond doubt.

    It is read anew each time: the folder may have been removed and made again.

    :raises Unusable: it can be neither read nor made.
    """
    path = directory / KEY_FILE
    try:
        for replace in (False, True):  # a key that is there but not to be trusted is replaced
            if key := _read_key(path):
                return key
            write_whole(path, secrets.token_bytes(KEY_SIZE), replace=replace)
        key = _read_key(path)
    except OSError as exc:
        raise Unusable(
            f"the key in {directory} cannot be made: {exc.strerror}; make room, or make the"
            " folder writable to this user"
        ) from exc
    if key is None:
        raise Unusable(f"the key in {directory} does not stay private; remove the folder")
    return key


def _read_key(path: Path) -> bytes | None:
    """The key, or None if there is none that only we could have written and read."""
    try:
        fd = os.open(path, os.O_RDONLY | SAFE)
    except FileNotFoundError:
        return None
    except OSError as exc:
        if exc.errno in (errno.ELOOP, errno.EACCES):
            return None  # a symlink, or a mode that shuts us out
        raise
    try:
        info = os.fstat(fd)
        private = stat.S_ISREG(info.st_mode) and not not_private(info)
        key = os.read(fd, KEY_SIZE + 1) if private else b""
    finally:
        os.close(fd)
    return key if len(key) == KEY_SIZE else None


def _link(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    except OSError:
        # A file system without hard links. If two workers replace each other's key, the artefacts
        # signed with the one that lost are compiled again.
        os.replace(temporary, path)
