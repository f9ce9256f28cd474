"""When to load again what the machine could not load: it had no memory, thread or file for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from ..errors import LoadDelayed
from .status import Refusal

#: Seconds until the first new attempt; each one that fails doubles them, up to the longest.
FIRST, LONGEST = 5.0, 600.0


class Retries:
    """The stems whose newest files wait for the machine to recover."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: dict[str, tuple[Refusal, float, float]] = {}  # with the pause, and its end

    def due(self, refused: Mapping[str, Refusal]) -> list[str]:
        """Return the stems to load again now.

        :param refused: by stem, all that does not serve now; a refusal stays the same object for
            as long as the same files fail in the same way.
        """
        now, due = self._clock(), []
        before, self._waiting = self._waiting, {}
        for stem, refusal in refused.items():
            if not isinstance(refusal.error, LoadDelayed):
                continue
            known, pause, until = before.get(stem, (None, 0.0, 0.0))
            if known is not refusal:
                pause, until = FIRST, now + FIRST
            elif until <= now:
                due.append(stem)
                pause = min(2 * pause, LONGEST)
                until = now + pause
            self._waiting[stem] = refusal, pause, until
        return due
