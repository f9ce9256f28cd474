"""Probation: a new version is compared with the one before it, over all workers of the machine."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..config import Settings
from ..errors import PluginHostError
from ..machine.control import Control, Quarantine, quarantine
from ..machine.depot import Depot
from ..machine.fleet import WorkerState
from .plugin import Plugin

logger = logging.getLogger("plugin_host")


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
        calls, faults = _judged(before.totals())
        return cls(plugin, before, faults / max(1, calls))

    def verdict(self, settings: Settings, workers: Iterable[WorkerState], pid: int) -> str | None:
        """Judge by what all workers have seen.

        :param workers: the live workers; the one with ``pid`` is this process.
        :returns: why the version has failed; an empty string if its probation is over; None to
            go on.
        """
        totals = self.plugin.totals()
        calls, faults = _judged(totals)
        for worker in workers:
            if worker.pid == pid:
                continue
            for other in worker.status.get("plugins", ()):
                if other.get("digest") == self.plugin.digest:
                    more = _judged(other)
                    calls, faults = calls + more[0], faults + more[1]
        if faults >= settings.probation_failures and faults / max(1, calls) > self.rate_before:
            last = totals["last_error"] or "in other workers"
            return f"{faults} of its first {calls} calls failed; the last error here: {last}"
        elapsed = time.monotonic() - self.started
        if calls >= settings.probation_calls and elapsed >= settings.probation_seconds:
            return ""
        return None


def _judged(totals: Mapping[str, Any]) -> tuple[int, int]:
    """Return calls and faults; calls that the breaker refused stand for faults that they spared."""
    refused = (totals.get("breaker") or {}).get("refused", 0)
    return totals.get("calls", 0) + refused, totals.get("faults", 0) + refused


class Probations:
    """The versions on probation in this process; used by one thread at a time.

    :param wake: called at each fault of such a version, so that it is judged soon.
    """

    def __init__(self, settings: Settings, depot: Depot, wake: Callable[[], None]) -> None:
        self._settings = settings
        self._depot = depot
        self._wake = wake
        self._open: dict[str, Probation] = {}  # by stem

    def __bool__(self) -> bool:
        """Whether any version is on probation."""
        return bool(self._open)

    def begin(
        self, newest: Mapping[str, Plugin], before: Mapping[str, Plugin], control: Control
    ) -> None:
        """Follow a swap: watch what has replaced something else, forget what is gone.

        :param newest: by stem, what serves now, canaries included.
        :param before: by stem, what served until now.
        """
        for stem in list(self._open):
            if newest.get(stem) is not self._open[stem].plugin:
                self._close(stem)
        if self._settings.probation_failures == 0:
            return
        for stem, plugin in newest.items():
            old = before.get(stem)
            if old is None or old.digest == plugin.digest or stem in self._open:
                continue
            if plugin.name in control.pins or old.digest in control.quarantined:
                continue  # an operator's choice, or the way back
            self._open[stem] = Probation.of(plugin, old)
            plugin.on_fault = self._wake

    def judge(self) -> bool:
        """Return whether a version has failed: it is quarantined then, for all workers."""
        if not self._open:
            return False
        workers, failed = self._depot.workers(), False
        for stem, probation in list(self._open.items()):
            reason = probation.verdict(self._settings, workers, os.getpid())
            if reason is not None:
                self._close(stem)
            if reason:
                self._roll_back(probation, reason)
                failed = True
        return failed

    def _close(self, stem: str) -> None:
        self._open.pop(stem).plugin.on_fault = None

    def _roll_back(self, probation: Probation, reason: str) -> None:
        plugin, before = probation.plugin, probation.before
        entry = Quarantine(reason, time.time(), plugin.name, plugin.version, before.digest)
        known = False

        def reject(control: Control) -> Control:
            nonlocal known
            known = plugin.digest in control.quarantined
            return quarantine(control, plugin.digest, entry)

        try:
            self._depot.control.update(reject, "probation")
        except PluginHostError as exc:
            logger.error("plugin %s cannot be rolled back: %s", plugin.name, exc)
            return
        if known:
            return  # another worker came to the same verdict, and has said so
        logger.error(
            "plugin %s %s (%.12s): rolled back to %s (%.12s) in all workers: %s",
            plugin.name,
            plugin.version,
            plugin.digest,
            before.version,
            before.digest,
            reason,
        )
