"""Which pages of this process's memory have been written: so that only those are put back.

A page that nobody has written is not this process's own: it is not there at all, or it is a file's.
Linux says so for each page in ``/proc/self/pagemap``; and a page becomes our own in a page fault
only, which the kernel counts for each thread. As long as a thread has had no fault, it has written
no further page (docs/rationale.md, "Why page faults?").
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import re
from collections.abc import Iterator

from .. import osthread

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

PAGE = mmap.PAGESIZE
_PAGEMAP = "/proc/self/pagemap"
_ENTRY = 8  # bytes per page; the last has the flags
_PRESENT, _SWAPPED, _FILE = 0x80, 0x40, 0x20
#: By the flags of a page's entry, whether it may have been written.
_OWN = bytes(
    bool(flags & _SWAPPED or (flags & _PRESENT and not flags & _FILE)) for flags in range(256)
)
#: The most runs of pages that `disown` maps one by one. A process has some 65 000 mappings, and a
#: guest may write every other page of an instance; without a mapping left nothing works any more.
MAX_RUNS = 16
_RUN, _GAP = re.compile(b"\1+"), re.compile(b"\0+")
_MAP_FIXED = 0x10
_MADV_DONTNEED, _MADV_NOHUGEPAGE = 4, 15


class _Seen(osthread.original("_thread", "_local")):  # type: ignore[misc]
    """The calling thread's faults when it looked last which pages of an instance were written."""

    faults: tuple[int, ...] | None = None


seen = _Seen()
if hasattr(os, "register_at_fork"):  # a child counts from 0
    os.register_at_fork(after_in_child=lambda: setattr(seen, "faults", None))


def faults() -> tuple[int, ...]:
    """The calling thread's page faults so far, minor and major."""
    return resource.getrusage(resource.RUSAGE_THREAD)[6:8]


def own(address: int, size: int) -> bytes:
    """For each page from ``address``, 1 if it may have been written, else 0.

    :raises OSError: Linux does not say so.
    """
    # Opened each time: in a forked child an open one would be the parent's.
    file = os.open(_PAGEMAP, os.O_RDONLY | os.O_CLOEXEC)
    try:
        entries = os.pread(file, size // PAGE * _ENTRY, address // PAGE * _ENTRY)
    finally:
        os.close(file)
    if len(entries) != size // PAGE * _ENTRY:
        raise OSError(f"{_PAGEMAP} is too short")
    return entries[_ENTRY - 1 :: _ENTRY].translate(_OWN)


def runs(pages: bytes) -> Iterator[tuple[int, int]]:
    """The runs of pages that are 1, as offsets in bytes: begin and end."""
    return ((found.start() * PAGE, found.end() * PAGE) for found in _RUN.finditer(pages))


def disown(address: int, pages: bytes, file: int) -> None:
    """Make all pages such that they have not been written; what is in them stays.

    Those that are 1 become private pages of ``file``, which holds the content of all at the same
    offsets; those that are 0 may have been read, and become as if they had not been, or the same.

    :raises OSError: Linux refuses; some pages may be as they were.
    """
    if len(tuple(runs(pages))) > MAX_RUNS:
        pages = b"\1" * len(pages)
    for start, end in runs(pages):
        _map(address + start, end - start, file, start)
    for found in _GAP.finditer(pages):
        start, end = found.start() * PAGE, found.end() * PAGE
        _advise(address + start, end - start, _MADV_DONTNEED)
    try:  # to make one huge page of many would make all of them our own
        _advise(address, len(pages) * PAGE, _MADV_NOHUGEPAGE)
    except OSError:
        pass  # this kernel has none


def _map(address: int, size: int, file: int, offset: int) -> None:
    prot, flags = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | _MAP_FIXED
    _libc().mmap.restype = ctypes.c_void_p
    where = ctypes.c_void_p(address), ctypes.c_size_t(size)
    if _libc().mmap(*where, prot, flags, file, ctypes.c_long(offset)) != address:
        raise OSError(ctypes.get_errno(), "mmap")


def _advise(address: int, size: int, advice: int) -> None:
    if _libc().madvise(ctypes.c_void_p(address), ctypes.c_size_t(size), advice):
        raise OSError(ctypes.get_errno(), "madvise")


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


@functools.cache
def is_known() -> bool:
    """Whether this kernel tells which pages have been written; tried once on some of our own."""
    if not hasattr(resource, "RUSAGE_THREAD") or not hasattr(os, "memfd_create"):
        return False
    try:
        return _try()
    except (OSError, AttributeError):
        return False


def _try() -> bool:
    file = os.memfd_create("plugin_host", os.MFD_CLOEXEC)
    with mmap.mmap(-1, 8 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        anchor = ctypes.c_char.from_buffer(memory)
        address = ctypes.addressof(anchor)
        try:
            os.ftruncate(file, len(memory))
            os.pwrite(file, b"\7", PAGE)
            memory[PAGE] = 7
            first = own(address, len(memory))
            read = bytes((memory[3 * PAGE], memory[PAGE]))
            disown(address, first, file)
            read += bytes((memory[3 * PAGE], memory[PAGE]))
            disown(address, bytes(8), file)
            second, before = own(address, len(memory)), faults()
            memory[PAGE] = memory[5 * PAGE] = 8
            after, third = faults(), own(address, len(memory))
        finally:
            del anchor
            os.close(file)
    expected = bytes((0, 1, 0, 0, 0, 0, 0, 0)), bytes(8), bytes((0, 1, 0, 0, 0, 1, 0, 0))
    return (first, second, third) == expected and read == b"\0\7\0\7" and before != after
