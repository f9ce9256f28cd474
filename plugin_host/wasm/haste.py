"""Python's threads take turns faster while a call is about to be ended.

A thread that wants Python's lock waits `sys.getswitchinterval` for each busy thread before it. To
end a call takes three such waits after its deadline; docs/rationale.md, "Why do threads switch
faster while a deadline is near?".
"""

from __future__ import annotations

import math
import os
import sys

from .. import osthread

#: For how long a busy thread keeps the others waiting meanwhile, in seconds.
INTERVAL = 0.00002


class Haste:
    """The process's switch interval, lowered while anybody is in a hurry, and put back after."""

    def __init__(self) -> None:
        self._turn = osthread.allocate_lock()
        self._who: frozenset[object] = frozenset()  # guarded by _turn, as _usual is
        self._usual = 0.0  # 0 while nothing is lowered

    def set(self, who: object, hurry: bool) -> None:
        """Say whether ``who`` is in a hurry."""
        if hurry == (who in self._who):
            return
        with self._turn:
            self._who = self._who | {who} if hurry else self._who - {who}
            if not self._who:
                self._restore()
            elif not self._usual and sys.getswitchinterval() > INTERVAL:
                self._usual = sys.getswitchinterval()
                sys.setswitchinterval(INTERVAL)

    def _restore(self) -> None:
        # Whoever has set another interval meanwhile meant it.
        if self._usual and math.isclose(sys.getswitchinterval(), INTERVAL):
            sys.setswitchinterval(self._usual)
        self._usual = 0.0

    def _forget(self) -> None:
        """A forked child has none of the threads that were in a hurry."""
        self._turn = osthread.allocate_lock()
        self._who = frozenset()
        self._restore()


haste = Haste()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=haste._forget)
