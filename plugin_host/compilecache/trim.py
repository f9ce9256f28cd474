"""Giving back what a compile leaves behind."""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable


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
