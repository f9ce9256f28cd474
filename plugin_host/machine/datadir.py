"""The data directory: what the workers of one app and the command line share on one machine.

It holds compiled modules, so whoever can write there can run code in the workers: it and its
folders are private, and that is checked. Files are replaced whole and never rewritten.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from plugin_host.errors import PluginHostError

from ..files.locking import Claim, acquire, try_lock
from ..files.private import (
    Owner,
    discard,
    is_root,
    open_private,
    sweep,
    temporary_of,
    write_whole,
)
from ..files.remedies import remedy

#: The folders of a data directory: compiled modules, good versions, and the workers' beacons.
FOLDERS: Final = ("cache", "versions", "workers")
LOG_SIZE: Final = 1 << 20
"""Bytes after which a log begins anew; one more is kept."""
LOCK_TIMEOUT: Final = 10.0
"""Seconds to wait for a lock, unless told otherwise; a holder writes one file."""


class DataDirError(PluginHostError):
    """The data directory cannot be used.

    :param path: the file or folder.
    :param cause: what is wrong with it, one sentence without a full stop.
    :param remedy: what to do about it, one sentence without a full stop.
    """

    def __init__(self, path: Path, cause: str, remedy: str) -> None:
        self.path, self.cause, self.remedy = path, cause, remedy
        super().__init__(f"data directory: {str(path)!r} {cause}; {remedy}")


@dataclass(frozen=True, slots=True)
class DataDir:
    """A data directory that was found to be private.

    ``owner`` is the user and group that get what root makes there (an operator's ``sudo``), or
    the server could not use it.
    """

    path: Path
    owner: Owner = field(default=None, compare=False)

    @classmethod
    def open(cls, path: Path) -> DataDir:
        """Check a data directory, after making what is missing; sweep what killed writers left.

        What root makes belongs to the owner of the folder that it is made in: a master that
        preloads the app is root, its workers are not.

        :raises DataDirError: it cannot be made, or others could write there.
        """
        path = path.absolute()
        status = _private(path, _heir(path) if is_root() else None)
        helping = is_root() and status.st_uid != 0
        data = cls(path, (status.st_uid, status.st_gid) if helping else None)
        for folder in (path, *map(data.folder, FOLDERS)):
            with suppress(OSError):  # gone again
                sweep(folder)
        return data

    def folder(self, name: str) -> Path:
        """Return one of `FOLDERS`, made again if somebody removed it.

        :raises DataDirError: it cannot be made, or others could write there.
        """
        self._restore()
        path = self.path / name
        _private(path, self.owner)
        return path

    def _restore(self) -> None:
        if not os.path.lexists(self.path):
            _private(self.path, self.owner)

    @contextmanager
    def lock(self, name: str, timeout: float = LOCK_TIMEOUT) -> Iterator[None]:
        """Hold the lock of that name, alone among all processes and threads; not re-entrant.

        Where there are no locks, nobody is kept out: files still appear whole or not at all.

        :param timeout: seconds to wait for it; 0 tries once.
        :raises DataDirError: it did not come free in time, or cannot be had at all.
        """
        path = self.path / f"{name}.lock"
        try:
            claim = acquire(path, timeout, self._open_lock)
        except OSError as error:
            raise unusable(path, "locked", error) from error
        if claim is None:
            raise DataDirError(
                path,
                f"is locked by another process for more than {timeout:g} s",
                "see which (lsof names it), and end it if it hangs",
            )
        try:
            yield
        finally:
            claim.close()

    def _open_lock(self, path: Path) -> int:
        self._restore()
        return open_private(path, owner=self.owner)

    def claim(self, path: Path) -> Claim | None:
        """Make a new file that appears with its lock held; None where there are no locks.

        :raises OSError: it cannot be made.
        """
        temporary = temporary_of(path)
        claim = Claim(open_private(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, self.owner))
        try:
            if try_lock(claim.fd):
                os.replace(temporary, path)
                return claim
        except BaseException:
            claim.close()
            discard(temporary)
            raise
        claim.close()
        discard(temporary)
        return None

    def write(self, path: Path, chunks: Iterable[bytes], *, durable: bool) -> None:
        """Put a file in place, whole and at once, replacing what is there.

        :param durable: wait until it would survive a loss of power.
        :raises OSError: and then nothing has changed.
        """
        write_whole(path, chunks, durable=durable, owner=self.owner)

    def append(self, name: str, line: bytes, limit: int = LOG_SIZE) -> None:
        """Add a line to a file; one of ``limit`` bytes is moved to ``<name>.1`` after that.

        :raises OSError: it cannot be written; the same holds for DataDirError.
        """
        path = self.path / name
        with self.lock(name):
            fd = open_private(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, self.owner)
            with open(fd, "ab", buffering=0) as file:
                file.write(line)
                full = os.fstat(fd).st_size >= limit
            if full:
                os.replace(path, path.with_name(f"{name}.1"))


def unusable(path: Path, done: str, error: OSError) -> DataDirError:
    """Return our error for what the operating system refuses; ``done``: a past participle."""
    return DataDirError(
        path,
        f"cannot be {done}: {error.strerror or type(error).__name__}",
        remedy(
            error,
            "let the user that the server runs as write there, with space left, or set"
            " PLUGIN_HOST_DATA_DIR to a folder where it can",
        ),
    )


def ours(path: Path, error: OSError | DataDirError) -> DataDirError:
    """Return our error for what went wrong as something was written at ``path``, or below."""
    return error if isinstance(error, DataDirError) else unusable(path, "written", error)


def _heir(path: Path) -> Owner:
    """Return who owns the nearest folder above that is there."""
    for folder in path.parents:
        with suppress(OSError):
            status = os.stat(folder)
            return status.st_uid, status.st_gid
    return None


def _private(path: Path, owner: Owner) -> os.stat_result:
    """Make a folder if it is missing; return its status if nobody else can write there."""
    try:
        if not os.path.lexists(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir(mode=0o700, exist_ok=True)
            if owner is not None:
                _give(path, *owner)
        status = os.lstat(path)
    except OSError as error:
        raise unusable(path, "made", error) from error
    if stat.S_ISLNK(status.st_mode):
        raise DataDirError(
            path, "is a symbolic link", "set PLUGIN_HOST_DATA_DIR to the folder it leads to"
        )
    if not stat.S_ISDIR(status.st_mode):
        raise DataDirError(path, "is not a folder", "move it away")
    if hasattr(os, "geteuid"):
        _check_access(path, status, os.geteuid())
    return status


def _give(folder: Path, uid: int, gid: int) -> None:
    """Let a user have a new folder, and not what that user may have put in its place meanwhile."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchown(fd, uid, gid)
    finally:
        os.close(fd)


def _check_access(path: Path, status: os.stat_result, me: int) -> None:
    if me not in (0, status.st_uid):
        raise DataDirError(
            path,
            f"belongs to user {status.st_uid}, and this process runs as {me}",
            f"run as that user, `chown -R {me}` it, or set PLUGIN_HOST_DATA_DIR to another folder",
        )
    if status.st_mode & 0o022:
        raise DataDirError(
            path,
            f"can be written by other users (mode {stat.S_IMODE(status.st_mode):o})",
            "remove it if they may have put something there, else `chmod 700` it",
        )
