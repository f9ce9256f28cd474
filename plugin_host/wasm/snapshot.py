"""An instance as it was when it was ready, and its return to that."""

from __future__ import annotations

import ctypes
import mmap
import os

from ..modules.rewriting import KEEP
from . import pages
from .instance import Instance
from .pages import faults, seen

_CHUNK = 65_536
_ZEROS = bytes(_CHUNK)


class Snapshot:
    """How an instance of a module that `restorable` made was when this was made.

    Hooks put the globals back by themselves. `restore` puts memory back: those pages that any call
    has written. Where the system does not tell which these are, that is all of them.

    :param start: and ``timeout``: the deadline, in seconds.
    :raises HookError: the globals could not be kept.
    """

    def __init__(self, instance: Instance, start: float, timeout: float) -> None:
        instance.function(KEEP)(0, start, timeout)
        self._instance = instance
        self._memory = memory = instance.view()
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(memory)) if memory else 0
        #: Whether the system tells which pages have been written.
        self._tracks = bool(memory) and pages.is_known() and self._address % pages.PAGE == 0
        self._content = memory
        self._written: tuple[tuple[int, int, memoryview], ...] = ()
        try:
            if self._tracks:
                self._content = self._disown()
        except OSError:  # not any more, since the process has become another user
            self._tracks = False
        if not self._tracks:
            self._content = memoryview(memory.tobytes())
            self._written = ((0, len(memory), self._content),)

    def restore(self, mark: object) -> bool:
        """Put memory back, from the thread that has called the guest.

        :param mark: `pages.seen.faults` of that thread before the call.
        :returns: False if memory has grown, which cannot be put back.
        """
        grown = False
        # Hooks make sure that there is a fault if memory has grown.
        if not self._tracks or self._instance.written or mark != faults():
            grown = self._instance.memory_size() != len(self._memory)
            self._look()
        memory = self._memory
        for start, end, content in self._written:
            memory[start:end] = content
        return not grown

    def _look(self) -> None:
        """Find out which pages have been written."""
        if not self._tracks:
            return
        try:
            own = pages.own(self._address, len(self._memory))
        except OSError:
            self._tracks, own = False, b"\1" * (len(self._memory) // pages.PAGE)
        content = self._content
        self._written = tuple((start, end, content[start:end]) for start, end in pages.runs(own))
        self._instance.written, seen.faults = False, faults()

    def _disown(self) -> memoryview:
        """Copy memory into a file that memory is from then on a private copy of."""
        memory, size = self._memory, len(self._memory)
        file = os.memfd_create("plugin_host", os.MFD_CLOEXEC)
        try:
            os.ftruncate(file, size)
            own = pages.own(self._address, size)
            for start in range(0, size, _CHUNK):
                chunk = memory[start : start + _CHUNK].tobytes()
                if chunk != _ZEROS:
                    os.pwrite(file, chunk, start)
            pages.disown(self._address, own, file)
            return memoryview(mmap.mmap(file, size, prot=mmap.PROT_READ))
        finally:
            os.close(file)
