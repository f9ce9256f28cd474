"""Work that must not be felt by requests: at low priority, and leaving no memory behind."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import threading
from collections.abc import Callable
from typing import TypeVar

from .. import osthread

T = TypeVar("T")

#: How much nicer background compiles are. On a core that two busy threads want as well, a compile
#: took 0.6 s at 0, 1.2 s at 3, 1.6 s at 5 and 5.5 s at 10, where reloads starved: 5 leaves
#: requests six parts in seven and still lets every version arrive. An idle core is not affected.
NICE = 5


def at_low_priority(work: Callable[[], T]) -> T:
    """Run ``work`` in a thread of low priority, and wait for it.

    Raises what ``work`` raises. Blocks the calling operating-system thread.
    """
    # A thread of its own, because an unprivileged process cannot take a raised nice value back.
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            _lower_priority()
            results.append(work())
        except BaseException as exc:  # raised again where the result is awaited
            errors.append(exc)

    thread = osthread.start(run, "plugin-host-compile")
    thread.join(threading.TIMEOUT_MAX)
    if errors:
        try:
            raise errors[0]
        finally:
            errors.clear()  # else the error's traceback holds this frame, which holds the error
    return results[0]


def _lower_priority() -> None:
    """Make the calling thread nicer, where that is possible for a thread alone."""
    if sys.platform != "linux":
        return  # elsewhere nice belongs to the process
    try:
        mine = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, 0, mine + NICE)
    except OSError:
        pass  # a sandbox forbids it: the compile competes as an equal


def trim_memory() -> None:
    """Give freed memory back to the system, where the C library can: a compile leaves much."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@functools.cache
def _malloc_trim() -> Callable[[int], int] | None:
    if sys.platform != "linux":
        return None
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None  # musl, or a static build
    trim.argtypes, trim.restype = [ctypes.c_size_t], ctypes.c_int
    return trim
