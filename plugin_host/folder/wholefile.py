"""Reading a file only when it is whole.

A deploy is not atomic: whoever reads while somebody writes gets a prefix, a mixture of two builds,
or nothing, and a part of those still validates as WebAssembly (docs/rationale.md, "Why a file is
read only when it is whole"). Three things are asked here: does anybody have the file open for
writing (where the platform can tell), is it the same file before and after the read and under its
name, and did the read return exactly its size.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from plugin_host import osthread
from plugin_host.config import Settings
from plugin_host.errors import PluginFileError
from plugin_host.files.remedies import remedy
from plugin_host.folder.hygiene import Hygiene

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_OPEN_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a name that turned into a FIFO must not block us
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)


class Signature(NamedTuple):
    """What tells one content of a file name from the next without reading it."""

    dev: int
    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Signature:
        return cls(
            status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        )


NO_STATUS = Signature(0, 0, 0, 0, 0)
"""Stands for a file whose status cannot be read."""


class Listing(NamedTuple):
    """A folder's identity (device, inode), its names, and when one last came or went (wall)."""

    identity: tuple[int, int]
    names: list[str]
    changed_at: float = float("inf")


class Status(NamedTuple):
    """One name's signature (None: no such file), and why it cannot be read, if known already."""

    signature: Signature | None
    problem: PluginFileError | None = None


class Whole(NamedTuple):
    """A whole file."""

    signature: Signature
    content: bytes


class Files(Protocol):
    """The file system as the scanner sees it; tests replace it."""

    def listing(self) -> Listing:
        """List the folder. Raises OSError when it is missing or unreadable."""
        ...

    def status(self, name: str, limit: int) -> Status:
        """Look at one name without opening it; more than ``limit`` bytes are a problem."""
        ...

    def read(self, name: str, limit: int, proof: bool) -> Whole | None:
        """Read one name, or return None when it is not whole now. Raises PluginFileError."""
        ...


def open_for_writing(fd: int) -> bool | None:
    """Whether any process has the file open for writing; None where the platform cannot tell.

    Asks for a read lease and gives it back at once: Linux, own files (or CAP_LEASE), local file
    systems; about 20 microseconds.
    """
    if fcntl is None or not hasattr(fcntl, "F_SETLEASE"):
        return None
    try:
        # A writer that opens while we hold the lease makes the kernel signal us: the default,
        # SIGIO, would end the process; SIGURG is ignored unless somebody asks for it.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def read_whole(
    path: Path,
    limit: int,
    *,
    proof: bool = False,
    probe: Callable[[int], bool | None] = open_for_writing,
) -> Whole | None:
    """Read a regular file of at most ``limit`` bytes; None when it is not whole now.

    :param proof: read only if the platform vouches that nobody has it open for writing.
    :raises PluginFileError: unreadable, not a regular file, or too large; nothing is read then.
    """
    try:
        fd = os.open(path, _OPEN_FLAGS)
    except FileNotFoundError:
        return None
    except OSError as error:
        if os.name == "nt" and isinstance(error, PermissionError):
            return None  # a writer that shares with nobody
        raise unreadable(path, error) from error
    try:
        return _read_open(fd, path, limit, proof, probe)
    except OSError as error:
        raise unreadable(path, error) from error
    finally:
        osthread.close(fd)


def _read_open(
    fd: int, path: Path, limit: int, proof: bool, probe: Callable[[int], bool | None]
) -> Whole | None:
    writing = probe(fd)
    if writing or (writing is None and proof):
        return None
    status = os.fstat(fd)
    problem = _problem(path, status, limit)
    if problem is not None:
        raise problem
    before = Signature.of(status)
    with io.FileIO(fd, closefd=False) as raw, io.BufferedReader(raw) as reader:
        content = reader.read(before.size + 1)
    if len(content) != before.size or probe(fd):
        return None
    try:
        named = Signature.of(os.stat(path))
    except FileNotFoundError:
        return None
    after = Signature.of(os.fstat(fd))
    return Whole(before, content) if before == after == named else None


def _problem(path: str | Path, status: os.stat_result, limit: int) -> PluginFileError | None:
    if not stat.S_ISREG(status.st_mode):
        return PluginFileError(
            path, "is not a regular file", "put a file there, or a link to a file"
        )
    if status.st_size > limit:
        return PluginFileError(
            path,
            f"has {status.st_size} bytes, more than the allowed {limit}",
            "make it smaller, or raise PLUGIN_HOST_MAX_MODULE_SIZE",
        )
    return None


def unreadable(path: Path, error: OSError) -> PluginFileError:
    """Return our error for a file or folder that the operating system refuses."""
    why = error.strerror or type(error).__name__
    readable = "make it readable for the user the server runs as"
    missing = isinstance(error, FileNotFoundError)
    return PluginFileError(
        path, f"cannot be read: {why}", remedy(error, "put it back" if missing else readable)
    )


class PluginFolder:
    """`Files` over a real folder, which may be a symbolic link.

    :param hygiene: says which files may be read; None allows all.
    """

    def __init__(self, path: Path, hygiene: Hygiene | None = None) -> None:
        self.path = path
        self._hygiene = hygiene
        self._prefix = os.path.join(path, "")

    @classmethod
    def of(cls, settings: Settings) -> PluginFolder:
        """Return an app's plugins folder, under the app's rules."""
        hygiene = Hygiene(settings.dir, settings.hygiene, settings.allow_links)
        return cls(settings.dir, hygiene)

    def listing(self) -> Listing:
        status = os.stat(self.path)
        return Listing((status.st_dev, status.st_ino), os.listdir(self.path), status.st_mtime)

    def status(self, name: str, limit: int) -> Status:
        path = f"{self._prefix}{name}"  # a Path would cost more than the system call
        try:
            status = os.stat(path)
        except FileNotFoundError:
            return self._missing(self.path / name)
        except OSError as error:
            return Status(NO_STATUS, unreadable(self.path / name, error))
        return Status(Signature.of(status), _problem(path, status, limit))

    def _missing(self, path: Path) -> Status:
        try:
            status = os.lstat(path)
        except OSError:
            return Status(None)
        if not stat.S_ISLNK(status.st_mode):
            return Status(None)  # came into being between the two calls: the next scan sees it
        target = os.readlink(path) if os.path.islink(path) else "?"
        problem = PluginFileError(
            path, f"is a link to {target}, which does not exist", "restore the target"
        )
        return Status(Signature.of(status), problem)

    def read(self, name: str, limit: int, proof: bool) -> Whole | None:
        path = self.path / name
        if self._hygiene is None:
            return read_whole(path, limit, proof=proof)
        try:
            approved = self._hygiene.approve(path)
        except OSError as error:
            raise unreadable(path, error) from error
        if approved is None:
            return None
        if problem := _problem(path, approved, limit):
            raise problem
        whole = read_whole(path, limit, proof=proof)
        same = whole is not None and whole.signature[:2] == Signature.of(approved)[:2]
        return whole if same else None
