"""An end to Python code that a plugin's author could have made to run for ever."""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

#: Whose functions may be ended: what reads manifests.
_READERS: Final = ("plugin_host.manifest.", "jsonschema.", "referencing.", "tomllib.")


class TooLong(BaseException):
    """The time is over; not an Exception, which a library may catch on its way."""


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Raise `TooLong` once this thread has used the processor for so long within.

    Ends whatever calls functions of `_READERS`; one call into C is waited for. Has no effect while
    a profiler runs: there can be one only, and cProfile cannot be put back.
    """
    if sys.getprofile() is not None:
        yield
        return
    end, calls, over = time.thread_time() + seconds, 0, False

    def look(frame: FrameType, event: str, _: object) -> None:
        nonlocal calls, over
        calls += 1
        if not over and not calls % 64:
            over = time.thread_time() > end
        if over and event == "call" and _can_end(frame):
            raise TooLong

    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(None)


def _can_end(frame: FrameType) -> bool:
    """Return whether an exception that is raised as this function begins reaches its caller.

    It is lost, and with it `look`, where Python closes a generator that is dropped, and in the
    finalizers that the garbage collector calls, which are anybody's.
    """
    if frame.f_code.co_flags & inspect.CO_GENERATOR:
        return False
    return f"{frame.f_globals.get('__name__')}.".startswith(_READERS)
