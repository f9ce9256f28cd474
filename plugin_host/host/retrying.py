"""When to load again what did not load for reasons that may pass while its files stay the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from ..errors import LoadDelayed
from ..machine.datadir import DataDirError
from ..machine.depot import Depot
from .naming import NameTaken
from .status import Refusal

#: Seconds until the first new attempt; each one that fails doubles them, up to the longest.
FIRST, LONGEST = 5.0, 600.0


class Retries:
    """The stems whose newest files may load later.

    The machine had no memory, thread or file for it; or another worker serves these very files, and
    this one has refused them: the machine was busy when it tried, and its deadlines passed.

    :param depot: knows the other workers of the machine, if there is a place for it.
    """

    def __init__(self, depot: Depot | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._depot = depot
        self._clock = clock
        self._waiting: dict[str, tuple[Refusal, float, float]] = {}  # with the pause, and its end

    def due(self, refused: Mapping[str, Refusal]) -> list[str]:
        """Return the stems to load again now.

        :param refused: by stem, all that does not serve now.
        """
        now, due = self._clock(), []
        before, self._waiting = self._waiting, {}
        for stem, refusal in refused.items():
            if isinstance(refusal.error, NameTaken):
                continue  # it waits for the one that has the name
            known, pause, until = before.get(stem, (None, 0.0, 0.0))
            if known is None or known.digest != refusal.digest:  # whatever words it fails with
                pause, until = FIRST, now + FIRST
            elif until <= now:
                if isinstance(refusal.error, LoadDelayed) or self._serves(refusal.digest):
                    due.append(stem)
                pause = min(2 * pause, LONGEST)
                until = now + pause
            self._waiting[stem] = refusal, pause, until
        return due

    def _serves(self, digest: str | None) -> bool:
        """Whether any worker of the machine serves files with that digest."""
        if self._depot is None or digest is None:
            return False
        try:
            plugins = self._depot.plugins()
        except DataDirError:
            return False  # publishing says so
        digests = (p.get("digest") for p in plugins if p.get("state") in ("serving", "canary"))
        return digest in digests  # not of those that all refuse, who say which files they are
