"""Versions that could not be kept when they were proven good: the disk was full, say.

They are kept when that is over, or nothing could be rolled back to what has served since.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..folder.scan import Candidate

#: Seconds between two attempts.
EVERY: Final = 5.0


class Owed:
    """Of each plugin the last two such versions: what serves, and what to roll back to."""

    def __init__(self, clock_ns: Callable[[], int]) -> None:
        self._clock_ns = clock_ns
        self._versions: list[tuple[Candidate, str, str]] = []
        self._tried_ns = 0

    def add(self, candidate: Candidate, name: str, version: str) -> None:
        """Note a version that has just failed to be kept."""
        self._tried_ns = self._clock_ns()
        others = [each for each in self._versions if each[0].digest != candidate.digest]
        before = [each for each in others if each[1] == name][-1:]
        rest = [each for each in others if each[1] != name]
        self._versions = [*rest, *before, (candidate, name, version)]

    def take(self) -> list[tuple[Candidate, str, str]]:
        """Return and forget what is to be tried now, with names and versions, older ones first."""
        # Either way round: after the clock has stepped back, too.
        if not self._versions or abs(self._clock_ns() - self._tried_ns) < EVERY * 1e9:
            return []
        versions, self._versions = self._versions, []
        return versions
