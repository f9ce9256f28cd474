"""An end to Python code that a plugin's author could have made to run for ever."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class TooLong(BaseException):
    """The time is over; not an Exception, which a library may catch on its way."""


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Raise `TooLong` once this thread has used the processor for so long within.

    Ends whatever calls Python functions; one call into C is waited for. Has no effect while a
    profiler runs: there can be one only, and cProfile cannot be put back.
    """
    if sys.getprofile() is not None:
        yield
        return
    end, calls = time.thread_time() + seconds, 0

    def look(*_: object) -> None:
        nonlocal calls
        calls += 1
        if not calls % 64 and time.thread_time() > end:
            raise TooLong

    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(None)
