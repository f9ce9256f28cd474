"""What a plugin's guests say, on its way to the log: capped, and written when no guest is running.

A handler of the log may do anything: write to a slow disk, take a lock, or, under gevent, switch to
another greenlet, which kills the process while a guest is on the stack (docs/rationale.md, "Why is
a guest's log written after the call?"). So a host function only takes note.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic

from ..errors import printable
from ..throttle import Throttle
from ..wasm.instance import Instance
from .calling import Key, this_call

#: Seconds of the steady rate that may come at once.
BURST = 10
#: Characters that count as one more line.
LINE = 1024
#: Characters of a line, before what cannot be printed is escaped; the rest is cut: the host's own
#: lines have a guest's words in them, too.
LONGEST = 8192
#: A key of `GuestLog.pending` that is no thread's.
_HELD = 0


class GuestLog:
    """The log of one plugin version; its instances share it.

    :param logger: where it goes.
    :param rate: how many lines per second may go there, steadily; a long line counts as several.
    """

    __slots__ = ("_logger", "_rate", "_throttle", "pending", "request_id")

    def __init__(
        self, logger: logging.Logger, rate: float, clock: Callable[[], float] = monotonic
    ) -> None:
        self._logger = logger
        self._rate = rate
        self._throttle = Throttle(rate, rate * BURST, clock)
        #: Lines with their levels, by the thread (or greenlet) whose guest said them. Whoever
        #: calls a guest looks here afterwards, and calls `flush` unless it is empty.
        self.pending: dict[Key, list[tuple[int, str]]] = {}
        #: Names the current request; None without one. Log records have it as ``request_id``.
        self.request_id: Callable[[], str | None] = _no_request

    def __call__(self, _instance: Instance | None, level: int, message: str) -> None:
        """Take note of one line, for a guest that is running in this thread, or is about to.

        :param level: one of `logging`'s; a line below the logger's is dropped, and not counted.
        """
        if level < self._logger.getEffectiveLevel():
            return
        throttle, pending, message = self._throttle, self.pending, message[:LONGEST]
        if throttle.admits(1 + len(message) / LINE):
            line = level, printable(message)
        elif _HELD not in pending:
            pending[_HELD] = []
            line = logging.WARNING, f"more than {self._rate:g} lines per second: suppressing them"
        else:
            return
        pending.setdefault(this_call(), []).append(line)

    def call_back(self, call: Key) -> None:
        """Have whoever calls the guest call `flush`, although nothing was said."""
        self.pending.setdefault(call, [])

    def flush(self) -> None:
        """Write what this thread's guest has said; it must have returned or trapped."""
        pending, logger = self.pending, self._logger
        lines = pending.pop(this_call(), ())
        if _HELD in pending and (count := self._throttle.resumed()):
            pending.pop(_HELD, None)
            logger.warning("suppressed %d lines", count)
        if lines:
            extra = {"request_id": self.request_id()}
            for level, text in lines:
                logger.log(level, "%s", text, extra=extra)


def _no_request() -> None:
    return None
