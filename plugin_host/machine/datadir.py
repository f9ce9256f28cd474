"""The data directory: what the workers of one app and the command line share on one machine.

It holds compiled modules, so whoever can write there can run code in the workers: it and its
folders are private, and that is checked. Files are replaced whole and never rewritten.
"""

from __future__ import annotations

import errno
import os
import random
import secrets
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from plugin_host import osthread
from plugin_host.errors import PluginHostError

from .locking import Claim, try_lock

#: The folders of a data directory: compiled modules, good versions, and the workers' beacons.
FOLDERS: Final = ("cache", "versions", "workers")
LOCK_TIMEOUT: Final = 10.0
"""Seconds to wait for a lock, unless told otherwise; a holder writes one file."""
_LONGEST_NAP: Final = 0.02
_STALE: Final = 3600.0  # seconds after which nobody goes on with a temporary file
_TEMPORARY: Final = ".tmp"
_FLAGS: Final = (
    getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
)


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
    owner: tuple[int, int] | None = field(default=None, compare=False)

    @classmethod
    def open(cls, path: Path) -> DataDir:
        """Check a data directory, after making what is missing of it.

        :raises DataDirError: it cannot be made, or others could write there.
        """
        path = path.absolute()
        status = _private(path, None)
        helping = is_root() and status.st_uid != 0
        data = cls(path, (status.st_uid, status.st_gid) if helping else None)
        for name in FOLDERS:
            data.folder(name)
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
        :raises DataDirError: it did not come free in time, or cannot be opened.
        """
        claim = self._acquire(self.path / f"{name}.lock", timeout)
        try:
            yield
        finally:
            claim.close()

    def _acquire(self, path: Path, timeout: float) -> Claim:
        deadline = time.monotonic() + timeout
        nap = 0.001
        while True:
            claim = self._open_lock(path)
            try:
                got = try_lock(claim.fd)
                # Without its name it is no lock: whoever comes next would get another.
                if got is None or (got and claim.is_at(path)):
                    return claim
            except BaseException:
                claim.close()
                raise
            claim.disown()
            if time.monotonic() >= deadline:
                raise DataDirError(
                    path,
                    f"is locked by another process for more than {timeout:g} s",
                    "see which (lsof names it), and end it if it hangs",
                )
            osthread.sleep(random.uniform(nap / 2, nap))  # noqa: S311  # not a secret
            nap = min(2 * nap, _LONGEST_NAP)

    def _open_lock(self, path: Path) -> Claim:
        self._restore()
        try:
            claim = Claim(os.open(path, _FLAGS | os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise unusable(path, "opened", error) from error
        self._adopt(claim.fd)
        return claim

    def _adopt(self, fd: int) -> None:
        if self.owner is not None and os.fstat(fd).st_uid != self.owner[0]:
            os.fchown(fd, *self.owner)

    def claim(self, path: Path) -> Claim | None:
        """Make a new file that appears with its lock held; None where there are no locks.

        :raises OSError: it cannot be made.
        """
        temporary = _temporary(path)
        claim = Claim(os.open(temporary, _FLAGS | os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            self._adopt(claim.fd)
            if try_lock(claim.fd):
                os.replace(temporary, path)
                return claim
        except BaseException:
            claim.close()
            _discard(temporary)
            raise
        claim.close()
        _discard(temporary)
        return None

    def write(self, path: Path, chunks: Iterable[bytes], *, durable: bool) -> None:
        """Put a file in place, whole and at once, replacing what is there.

        :param durable: wait until it would survive a loss of power.
        :raises OSError: and then nothing has changed.
        """
        temporary = _temporary(path)
        fd = os.open(temporary, _FLAGS | os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(fd, "wb") as file:
                self._adopt(fd)
                file.writelines(chunks)
                file.flush()
                if durable:
                    os.fsync(fd)
            os.replace(temporary, path)
        except BaseException:
            _discard(temporary)
            raise
        if durable:
            _sync(path.parent)


def read(path: Path, limit: int) -> tuple[os.stat_result, bytes]:
    """Read a file of at most ``limit`` bytes that one of us wrote, with its status.

    :raises OSError: it is missing, unreadable, a link, not a file, another user's, or too large.
    """
    fd = os.open(path, _FLAGS | os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with open(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        if hasattr(os, "geteuid") and os.geteuid() not in (0, status.st_uid):
            raise OSError(errno.EPERM, f"it belongs to user {status.st_uid}", str(path))
        if status.st_size > limit:
            raise OSError(errno.EFBIG, f"it has more than {limit} bytes", str(path))
        return status, file.read(status.st_size)


def sweep(folder: Path, older_than: float = _STALE) -> None:
    """Remove temporary files that their writers, killed, left more than these seconds ago.

    :raises OSError: the folder cannot be listed.
    """
    oldest = time.time() - older_than
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                old = entry.stat(follow_symlinks=False).st_mtime < oldest
                if old and entry.name.endswith(_TEMPORARY):
                    os.unlink(entry)
            except OSError:
                pass  # another worker sweeps too


def is_root() -> bool:
    """Whether this process may do what its data directory's owner may."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def unusable(path: Path, done: str, error: OSError) -> DataDirError:
    """Return our error for what the operating system refuses; ``done``: a past participle."""
    return DataDirError(
        path,
        f"cannot be {done}: {error.strerror or type(error).__name__}",
        "let the user that the server runs as write there, with space left, or set"
        " PLUGIN_HOST_DATA_DIR to a folder where it can",
    )


def _temporary(path: Path) -> Path:
    return path.with_name(f".{secrets.token_hex(8)}{_TEMPORARY}")


def _discard(path: Path) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass  # swept, or not to be removed either: swept later


def _private(path: Path, owner: tuple[int, int] | None) -> os.stat_result:
    """Make a folder if it is missing; return its status if nobody else can write there."""
    try:
        if not os.path.lexists(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir(mode=0o700, exist_ok=True)
            if owner is not None:
                os.chown(path, *owner)
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


def _sync(folder: Path) -> None:
    if os.name == "nt":
        return  # a folder cannot be opened there
    fd = os.open(folder, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
