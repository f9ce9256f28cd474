"""Errors of state: numbers for guests, lines and counts for operators."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic
from typing import Final, get_args

from .. import osthread
from ..errors import StateCode, StateError
from ..throttle import Throttle
from ..wasm.instance import Instance
from .guest_log import GuestLog

#: The result that stands for each code: fixed, as codes are only ever appended. -1 is no error.
RESULTS: Final[dict[StateCode, int]] = {
    code: -2 - index for index, code in enumerate(get_args(StateCode))
}
#: Log lines about errors of one plugin: per second, and at once.
LINES, LINES_AT_ONCE = 1.0, 20.0


class Failures:
    """What went wrong with one plugin's state in this process: counted, and told now and then."""

    __slots__ = ("_codes", "_lock", "_throttle")

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._throttle = Throttle(LINES, LINES_AT_ONCE, clock)
        self._codes: dict[str, int] = {}
        self._lock = osthread.allocate_lock()  # guards _codes

    def note(self, instance: Instance | None, log: GuestLog, what: str, error: StateError) -> int:
        """Take note of an error; return the result that tells it to the guest.

        :param instance: whose call it was; None if it is about to be made.
        :param what: what failed.
        """
        with self._lock:
            self._codes[error.code] = self._codes.get(error.code, 0) + 1
        held = self._throttle.resumed()
        if self._throttle.admits():
            more = f" ({held} more like it were not logged)" if held else ""
            log(instance, logging.WARNING, f"{what}: {error.code}: {error}{more}")
        return RESULTS[error.code]

    def counts(self) -> dict[str, int]:
        """Return how many errors there were, by code."""
        with self._lock:
            return dict(self._codes)
