"""Which pages of this process's memory have been written: so that only those are put back.

A page that nobody has written is not this process's own: it is not there at all, or shared with a
file. Linux says so for each page in ``/proc/self/pagemap``, and a page becomes our own in a page
fault only, which the kernel counts for each thread: as long as a thread has had no fault, it has
written no further page (docs/rationale.md, "Why page faults?").
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import re
from collections.abc import Iterator

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

PAGE = mmap.PAGESIZE
_PAGEMAP = "/proc/self/pagemap"
_ENTRY = 8  # bytes per page; the last has the flags
_PRESENT, _SWAPPED, _SHARED = 0x80, 0x40, 0x20
#: By the flags of a page's entry, whether it may have been written.
_OWN = bytes(
    bool(flags & _SWAPPED or (flags & _PRESENT and not flags & _SHARED)) for flags in range(256)
)
_RUN = re.compile(b"\1+")
_GAP = re.compile(b"\0+")
_MADV_DONTNEED, _MADV_NOHUGEPAGE = 4, 15


def faults() -> tuple[int, ...]:
    """The calling thread's page faults so far, minor and major."""
    return resource.getrusage(resource.RUSAGE_THREAD)[6:8]


def own(address: int, size: int) -> bytes:
    """For each page from ``address``, 1 if it may have been written, else 0.

    The file is opened each time: in a forked child an open one would be the parent's.

    :raises OSError: as it says.
    """
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


def forget_reading(address: int, pages: bytes) -> None:
    """Make pages that are 0 as if nobody had read them; what is in them stays.

    Also keeps the kernel from making one huge page of them all.

    :raises OSError: the kernel refuses.
    """
    _advise(address, len(pages) * PAGE, _MADV_NOHUGEPAGE)
    for found in _GAP.finditer(pages):
        start, end = found.span()
        _advise(address + start * PAGE, (end - start) * PAGE, _MADV_DONTNEED)


def _advise(address: int, size: int, advice: int) -> None:
    refused = _libc().madvise(ctypes.c_void_p(address), ctypes.c_size_t(size), advice)
    # Kernels without huge pages do not know advice about them, and need none.
    if refused and advice == _MADV_DONTNEED:
        raise OSError(ctypes.get_errno(), "madvise")


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


@functools.cache
def is_known() -> bool:
    """Whether this kernel tells which pages have been written; tried once on some of our own."""
    if not hasattr(resource, "RUSAGE_THREAD"):
        return False
    try:
        return _try()
    except (OSError, AttributeError):
        return False


def _try() -> bool:
    with mmap.mmap(-1, 8 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        anchor = ctypes.c_char.from_buffer(memory)
        address = ctypes.addressof(anchor)
        try:
            memory[PAGE] = 1
            first = own(address, len(memory))
            seen = memory[3 * PAGE]
            forget_reading(address, first)
            before = faults()
            unchanged = own(address, len(memory))
            memory[5 * PAGE] = 1
            after = faults()
            return (
                seen == 0
                and memory[PAGE] == 1
                and first == unchanged == bytes((0, 1, 0, 0, 0, 0, 0, 0))
                and own(address, len(memory)) == bytes((0, 1, 0, 0, 0, 1, 0, 0))
                and before != after
            )
        finally:
            del anchor
