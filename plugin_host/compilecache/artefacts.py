"""Compiled modules in a private folder, each with proof that this installation wrote it.

An artefact is machine code: to load it is to run it. The code is followed by an HMAC-SHA256 over
its name and all of it, under a random key that lies in the same folder; nothing is handed out
before that has been verified.

*Threat model.* Defended against: damage (disk, truncation, half-written files), files of other
installations and other engines, and every other user of the machine, who can neither write here
nor read the key. Not defended against: who acts as the same user, or as root. They can read the
key, and need not: they can write into this process.
"""

from __future__ import annotations

import hmac
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ..files.locking import remove_if_free
from ..files.private import is_root, not_private, open_private, sweep, write_whole
from ..files.remedies import remedy
from .key import NotRoots, Unusable, read_or_make_key

MAC_SIZE = 32
#: Bytes that are read at once.
PIECE = 1 << 18
#: The time of last use is written at most this often, in seconds.
TOUCH_EVERY = 3600
#: Of the room that is left, a process fills this share before it looks through the folder again:
#: to look costs time and memory for each artefact, and others fill it meanwhile.
SHARE = 1 / 8
#: A folder that is so full is emptied so far, or the next artefacts would be too many again.
FULL, ENOUGH = 31 / 32, 7 / 8

_ARTEFACT = re.compile(r"(?P<version>[\w.+]+)-[0-9a-f]{64}\.cwasm")
_LOCK = re.compile(_ARTEFACT.pattern + r"\.lock")


class Rejected(Exception):
    """There is an artefact, but it must not be loaded; the text says why."""


@dataclass(frozen=True, slots=True)
class Artefact:
    """An open artefact, of ``size`` bytes of code and its proof."""

    fd: int
    size: int
    name: str
    key: bytes

    def verify(self, take: Callable[[memoryview], object] = len) -> None:
        """Read all of it and compare it with its proof.

        :param take: is given each piece of the code, before the proof has been seen.
        :raises Rejected: it is not what this installation wrote under this name.
        """
        mac = start_mac(self.key, self.name)
        # Through one small buffer: a large one would stay with the process when it is freed.
        piece = memoryview(bytearray(PIECE))
        left = self.size
        try:
            with open(self.fd, "rb", buffering=0, closefd=False) as file:
                file.seek(0)
                while left and (count := file.readinto(piece[:left])):
                    mac.update(piece[:count])
                    take(piece[:count])
                    left -= count
                proof = file.read(MAC_SIZE)
        except OSError as exc:
            raise Rejected(exc.strerror) from exc
        if left or not hmac.compare_digest(mac.digest(), proof or b""):
            raise Rejected("it is not what was written")

    def code(self) -> bytearray:
        """A verified copy of the compiled module.

        :raises Rejected: see `verify`.
        """
        code = bytearray()
        self.verify(code.extend)
        return code

    def is_at(self, path: str) -> bool:
        """Whether a path leads to this very file."""
        try:
            return os.path.samestat(os.fstat(self.fd), os.stat(path))
        except OSError:
            return False


class Artefacts:
    """The folder of artefacts.

    :param directory: is made with mode 0700, also again when it vanishes.
    :param max_bytes: how much all artefacts may take.
    """

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self.directory = directory
        self.max_bytes = max_bytes
        self._room = 0.0  # bytes to write before it is looked again whether all fit

    def ready(self) -> None:
        """Make the folder, or check that it is private; done before each use.

        :raises Unusable: it is somebody else's or open to others, or cannot be made.
        """
        try:
            self.directory.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.mkdir(self.directory, 0o700)
            except FileExistsError:
                pass
            info = os.lstat(self.directory)
        except OSError as exc:
            what = remedy(exc, "make it writable to this user")
            raise Unusable(f"{self.directory} cannot be made: {exc.strerror}; {what}") from exc
        if not stat.S_ISDIR(info.st_mode):
            raise Unusable(f"{self.directory} is not a folder; name one that is no symlink")
        if is_root() and info.st_uid:
            raise NotRoots(
                f"root does not use user {info.st_uid}'s compile cache; its workers do, as that"
                " user"
            )
        if problem := not_private(info):
            raise Unusable(
                f"{self.directory} {problem}; give the cache a folder of its own with mode 0700"
            )

    @contextmanager
    def verified(self, name: str) -> Iterator[Artefact | None]:
        """Open and verify an artefact; None if there is none.

        :raises Rejected: it is there, but is not what this installation wrote.
        :raises Unusable: see `ready`.
        """
        self.ready()
        try:
            fd = open_private(self.directory / name, os.O_RDONLY)
        except FileNotFoundError:
            yield None
            return
        except OSError as exc:  # a symlink, a mode that shuts us out, a bad disk
            raise Rejected(exc.strerror) from exc
        try:
            yield self._check(fd, name)
        finally:
            os.close(fd)

    def save(self, name: str, code: bytes | bytearray) -> None:
        """Keep a compiled module, in place of any that is there, and prune now and then.

        The file appears whole or not at all, and a file that is mapped is never written to. It is
        not synced: what a power failure damages will not pass verification.

        :raises Unusable: see `ready`; or it is larger than ``max_bytes``.
        :raises OSError: it cannot be written.
        """
        self.ready()
        if len(code) + MAC_SIZE > self.max_bytes:
            raise Unusable(
                f"a compiled module of {len(code)} bytes is over the cache's limit of"
                f" {self.max_bytes}; raise the limit"
            )
        mac = start_mac(read_or_make_key(self.directory), name)
        mac.update(code)
        write_whole(self.directory / name, [code, mac.digest()])
        self._room -= len(code) + MAC_SIZE
        if self._room < 0:
            self.prune(keep=name)

    def touch(self, artefact: Artefact, name: str) -> None:
        """Note that an artefact is in use, for `prune`."""
        try:
            # Either way round: after the clock has stepped back, too.
            if abs(time.time() - os.fstat(artefact.fd).st_mtime) > TOUCH_EVERY:
                os.utime(self.directory / name)
        except OSError:
            pass  # a read-only cache serves as well

    def total(self) -> int:
        """Bytes of all artefacts; 0 if the folder cannot be read."""
        return sum(size for *_, size in self._artefacts())

    def prune(self, keep: str) -> None:
        """Remove what nobody holds any more, and artefacts if they fill ``max_bytes``.

        Those of other wasmtime releases than ``keep``'s go first, then the least recently used.
        A worker that maps a removed artefact keeps it: removing takes only the name away.
        """
        self._remove_leftovers()
        total = self.total()
        if total > FULL * self.max_bytes:
            total = self._make_room(keep)
        self._room = SHARE * (self.max_bytes - total)

    def _make_room(self, keep: str) -> int:
        """Remove artefacts until `ENOUGH` is left, and say how much."""
        version = keep.rpartition("-")[0]
        found = sorted(self._artefacts(), key=lambda item: (item[0] == version, item[1]))
        total = sum(size for *_, size in found)
        for _, _, name, size in found:
            if total <= ENOUGH * self.max_bytes:
                break
            if name == keep:
                continue
            try:
                os.unlink(self.directory / name)
            except OSError:
                continue  # pruned by another worker, or mapped on Windows
            total -= size
        return total

    def _artefacts(self) -> Iterator[tuple[str, float, str, int]]:
        """Version, time of last use, name and size of each artefact."""
        for entry in self._entries():
            match = _ARTEFACT.fullmatch(entry.name)
            try:
                if match and entry.is_file(follow_symlinks=False):
                    info = entry.stat(follow_symlinks=False)
                    yield match["version"], info.st_mtime, entry.name, info.st_size
            except OSError:
                continue  # removed meanwhile

    def _remove_leftovers(self) -> None:
        """Remove the lock and temporary files of processes that were killed."""
        with suppress(OSError):
            sweep(self.directory)
        for entry in self._entries():
            if _LOCK.fullmatch(entry.name):
                with suppress(OSError):  # removed meanwhile, or open on Windows
                    remove_if_free(Path(entry.path))

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        with suppress(OSError), os.scandir(self.directory) as entries:
            yield from entries

    def _check(self, fd: int, name: str) -> Artefact:
        try:
            info = os.fstat(fd)
        except OSError as exc:
            raise Rejected(exc.strerror) from exc
        if not stat.S_ISREG(info.st_mode):
            raise Rejected("it is not a regular file")
        if problem := not_private(info):
            raise Rejected(f"it {problem}")
        if not MAC_SIZE < info.st_size <= self.max_bytes:
            raise Rejected(f"it has {info.st_size} bytes")
        key = read_or_make_key(self.directory)
        artefact = Artefact(fd, info.st_size - MAC_SIZE, name, key)
        artefact.verify()
        return artefact


def start_mac(key: bytes, name: str) -> hmac.HMAC:
    """The proof of an artefact, up to its code."""
    # The name is signed too: an artefact put in another's place is as wrong as an altered one.
    return hmac.new(key, name.encode() + b"\0", "sha256")
