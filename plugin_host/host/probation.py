"""Probation: a new version is compared with the one before it, over all workers of the machine."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..config import Settings
from .fleet import WorkerState
from .plugin import Plugin


@dataclass(frozen=True, slots=True)
class Probation:
    """A version that has just replaced another.

    :param before: the version that it replaced, with its counts at that moment.
    """

    plugin: Plugin
    before: Plugin
    rate_before: float
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, plugin: Plugin, before: Plugin) -> Probation:
        """Begin the probation of ``plugin``."""
        totals = before.totals()
        return cls(plugin, before, totals["faults"] / max(1, totals["calls"]))

    def verdict(self, settings: Settings, workers: Iterable[WorkerState], pid: int) -> str | None:
        """Judge by what all workers have seen.

        :param workers: the live workers; the one with ``pid`` is this process.
        :returns: why the version has failed; an empty string if its probation is over; None to
            go on.
        """
        totals = self.plugin.totals()
        calls, faults = totals["calls"], totals["faults"]
        for worker in workers:
            if worker.pid == pid:
                continue
            for other in worker.status.get("plugins", ()):
                if other.get("digest") == self.plugin.digest:
                    calls += other.get("calls", 0)
                    faults += other.get("faults", 0)
        if faults >= settings.probation_failures and faults / max(1, calls) > self.rate_before:
            last = totals["last_error"] or "in other workers"
            return f"{faults} of its first {calls} calls failed; the last error here: {last}"
        elapsed = time.monotonic() - self.started
        if calls >= settings.probation_calls and elapsed >= settings.probation_seconds:
            return ""
        return None
