"""An instance as it was when it was ready, and its return to that."""

from __future__ import annotations

import ctypes
import mmap
from threading import get_ident

from . import pages
from .instance import Instance
from .isolation import KEEP_GLOBALS

_CHUNK = 65_536
_ZEROS = bytes(_CHUNK)
_PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANON} if hasattr(mmap, "MAP_PRIVATE") else {}


class Snapshot:
    """How an instance of a module of `restorable` was when this was made.

    Its globals are put back by the hooks themselves, its memory by `restore`. What is not zero in
    memory is kept once more; of it, `restore` copies back the pages that were written since the
    instance was made.

    :param start: and ``timeout``: the deadline, in seconds.
    :raises HookError: the globals could not be kept.
    """

    def __init__(self, instance: Instance, start: float, timeout: float) -> None:
        try:
            keep_globals = instance.function(KEEP_GLOBALS)
        except KeyError:
            pass  # it has none
        else:
            keep_globals(0, start, timeout)
        self._instance = instance
        self._memory = instance.view()
        self._size = len(self._memory)
        self._address = _address(self._memory)
        self._known = pages.is_known() and self._address % pages.PAGE == 0 and self._size > 0
        before = pages.own(self._address, self._size) if self._known else b""
        self._content = _copy(self._memory)
        if self._known:
            pages.forget_reading(self._address, before)
            self._faults = pages.faults()
            self._note(before)
        else:
            self._written = [(0, self._size, self._content)]

    def begin(self) -> None:
        """Say that the calling thread is about to write, or have the guest write, into memory."""
        if self._known:
            self._faults = pages.faults()

    def restore(self) -> bool:
        """Put memory back, from the thread that began.

        :returns: False if memory has grown, which cannot be put back.
        """
        instance = self._instance
        if self._known and (self._faults != pages.faults() or instance.writer != get_ident()):
            instance.writer = get_ident()
            self._note(pages.own(self._address, self._size))
        memory = self._memory
        for start, end, content in self._written:
            memory[start:end] = content
        return instance.memory_size() == self._size

    def _note(self, own: bytes) -> None:
        content = self._content
        self._written = [(start, end, content[start:end]) for start, end in pages.runs(own)]


def _address(memory: memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory)) if memory else 0


def _copy(memory: memoryview) -> memoryview:
    """Copy bytes to pages of their own; those that are all zeros take no memory."""
    if not memory:
        return memoryview(b"")
    copy = memoryview(mmap.mmap(-1, len(memory), **_PRIVATE))
    for start in range(0, len(memory), _CHUNK):
        chunk = memory[start : start + _CHUNK].tobytes()
        if chunk != _ZEROS:
            copy[start : start + _CHUNK] = chunk
    return copy
