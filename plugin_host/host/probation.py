"""Probation: a new version is compared with the one before it, over all workers of the machine."""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..config import Settings
from ..errors import PluginHostError
from ..machine.control import Control, Quarantine, quarantine
from ..machine.datadir import DataDirError
from ..machine.depot import Depot
from ..machine.fleet import WorkerState
from ..machine.moment import Moment, elapsed
from ..machine.trials import Trial, Trials
from ..machine.versions import VersionError
from ..serving.plugin import Plugin

logger = logging.getLogger("plugin_host")


#: Measured calls of each version below which their processor time is not compared, and seconds of
#: it below which a difference between two calls' means matters to nobody.
ENOUGH = 50
NOTICEABLE = 0.001
#: Seconds between two looks at what the other workers have seen, unless a call has failed here; and
#: for which these go on after the last call, since the others say a little later what they saw.
INTERVAL, LINGER = 0.25, 1.0


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of a version's calls; processor time in seconds.

    Calls that the breaker refused stand for faults that they spared.
    """

    calls: int = 0
    faults: int = 0
    measured: int = 0
    cpu_seconds: float = 0.0

    @classmethod
    def of(cls, totals: Mapping[str, Any]) -> Tally:
        """Read one from what `Plugin.totals` returns, or another worker published of it."""
        refused = (totals.get("breaker") or {}).get("refused", 0)
        return cls(
            totals.get("calls", 0) + refused,
            totals.get("faults", 0) + refused,
            totals.get("measured", 0),
            totals.get("cpu_seconds", 0.0),
        )

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.calls + other.calls,
            self.faults + other.faults,
            self.measured + other.measured,
            self.cpu_seconds + other.cpu_seconds,
        )

    @property
    def rate(self) -> float:
        """The share of calls that failed."""
        return self.faults / max(1, self.calls)

    @property
    def mean(self) -> float | None:
        """The mean processor time of a call; None: too few were measured."""
        return self.cpu_seconds / self.measured if self.measured >= ENOUGH else None


#: What a version is compared with of which nobody knows how the one before it did, because it was
#: deployed while the site did not run: only one that fails in most of its calls is worse.
UNKNOWN = Tally(calls=2, faults=1)


@dataclass(frozen=True, slots=True)
class Probation:
    """A version that has replaced another, in this process or before it.

    :param before: the digest of the one that it replaced; ``version`` is that one's.
    :param then: what had become of that one's calls at that moment, in one process.
    """

    plugin: Plugin
    before: str
    version: str
    then: Tally
    started: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, plugin: Plugin, trial: Trial) -> Probation:
        """Go on with a probation that has begun."""
        then = Tally(trial.calls, trial.faults, trial.measured, trial.cpu_seconds)
        started = time.monotonic() - elapsed(trial.since, trial.moment)
        return cls(plugin, trial.before, trial.version, then, started)

    def verdict(self, settings: Settings, workers: Iterable[WorkerState], pid: int) -> str | None:
        """Judge by what all workers have seen.

        :param workers: the live workers; the one with ``pid`` is this process.
        :returns: why the version has failed; an empty string if its probation is over; None to
            go on.
        """
        totals = self.plugin.totals()
        now = sum(self._elsewhere(workers, pid), Tally.of(totals))
        if now.faults >= settings.probation_failures > 0 and now.rate > self.then.rate:
            last = totals["last_error"] or "in other workers"
            return (
                f"{now.faults} of its first {now.calls} calls failed; the last error here: {last}"
            )
        if slow := self._slower(now, settings.probation_slowdown):
            return slow
        elapsed = time.monotonic() - self.started
        if now.calls >= settings.probation_calls and elapsed >= settings.probation_seconds:
            return ""
        return None

    def _elsewhere(self, workers: Iterable[WorkerState], pid: int) -> Iterator[Tally]:
        for worker in workers:
            for other in worker.status.get("plugins", ()):
                if worker.pid != pid and other.get("digest") == self.plugin.digest:
                    yield Tally.of(other)

    def _slower(self, now: Tally, slowdown: float) -> str | None:
        old, new = self.then.mean, now.mean
        if not slowdown or old is None or new is None:
            return None
        if new <= old * slowdown or new - old < NOTICEABLE:
            return None
        return (
            f"its first {now.measured} calls took {new * 1000:.1f} ms of processor time each,"
            f" those of version {self.version} {old * 1000:.2g} ms"
        )


class Probations:
    """The versions on probation in this process; used by one thread at a time.

    :param wake: called at each fault of such a version, so that it is judged soon.
    """

    def __init__(self, settings: Settings, depot: Depot, wake: Callable[[], None]) -> None:
        self._settings = settings
        self._depot = depot
        self._trials = Trials(depot.datadir)
        self._wake = wake
        self._open: dict[str, Probation] = {}  # by stem
        self._next = 0.0  # when to judge next, of time.monotonic
        self._calls = 0  # of all versions on probation
        self._called_at = float("-inf")
        self._complaint: str | None = None

    def __bool__(self) -> bool:
        """Whether any version is on probation."""
        return bool(self._open)

    @property
    def is_active(self) -> bool:
        """Whether any has been called of late."""
        return bool(self._open) and time.monotonic() - self._called_at < LINGER

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
        if not (self._settings.probation_failures or self._settings.probation_slowdown):
            return
        olds = {plugin.name: plugin for plugin in before.values()}
        for stem, plugin in newest.items():
            old = olds.get(plugin.name)
            if stem in self._open or old is plugin or plugin.name in control.pins:
                continue  # the last is an operator's choice
            trial = self._trial(plugin, old, control)
            if trial is None or trial.before in control.quarantined:
                continue  # the latter is the way back
            self._trials.begin(plugin.name, trial)
            self._open[stem] = Probation.of(plugin, trial)
            if old is None:  # has this process come to stay? a command has not
                self._next = time.monotonic() + INTERVAL
            plugin.on_fault = self._note_fault

    def _trial(self, plugin: Plugin, old: Plugin | None, control: Control) -> Trial | None:
        """Return the trial of a version that serves from now on, or served before this process."""
        name, digest, now = plugin.name, plugin.digest, time.time()
        if old is not None and old.digest != digest:
            then = dataclasses.asdict(Tally.of(old.totals()))
            return Trial(digest, old.digest, old.version, now, **then, moment=Moment.now())
        known = self._trials.read(name)
        if known is not None and known.digest == digest:
            return known
        if old is not None:
            return None
        kept = self._depot.versions.history(name)
        last = next((each for each in kept if each.digest not in control.quarantined), None)
        if last is None or digest in {each.digest for each in kept}:
            return None  # the first version, or one that has served before
        then = dataclasses.asdict(UNKNOWN)
        return Trial(digest, last.digest, last.version, now, **then, moment=Moment.now())

    def _note_fault(self) -> None:
        """Called in any thread."""
        self._next = 0.0
        self._wake()

    def judge(self) -> bool:
        """Return whether a version has failed: it is quarantined then, for all workers.

        Looks at all workers, and so at most every `INTERVAL` seconds, or after a fault here.
        """
        now = time.monotonic()
        if not self._open or now < self._next:
            return False
        self._next = now + INTERVAL
        calls = sum(Tally.of(each.plugin.totals()).calls for each in self._open.values())
        if calls != self._calls:
            self._calls, self._called_at = calls, now
        if not self.is_active:
            return False  # nothing is new here, and whoever has news judges
        workers, failed = self._workers(), False
        for stem, probation in list(self._open.items()):
            plugin = probation.plugin
            reason = probation.verdict(self._settings, workers, os.getpid())
            if reason == "":
                self._trials.end(plugin.name, plugin.digest)
            elif reason is None or not self._roll_back(probation, reason):
                continue
            self._close(stem)
            failed |= bool(reason)
        return failed

    def _workers(self) -> list[WorkerState]:
        try:
            return self._depot.workers()
        except DataDirError:
            return []  # publishing says so; what this process sees counts all the same

    def _close(self, stem: str) -> None:
        self._open.pop(stem).plugin.on_fault = lambda: None

    def _roll_back(self, probation: Probation, reason: str) -> bool:
        """Quarantine a version; return whether it is, or False to try again later."""
        plugin, before = probation.plugin, probation.before
        entry = Quarantine(reason, time.time(), plugin.name, plugin.version, before)
        known = False

        def reject(control: Control) -> Control:
            nonlocal known
            known = plugin.digest in control.quarantined
            return quarantine(control, plugin.digest, entry)

        try:
            if self._depot.versions.get(before, plugin.name) is None:
                raise VersionError(f"the version before it, {before:.12}, is not kept")
            self._depot.control.update(reject, "probation")
        except PluginHostError as exc:
            plugin.on_fault = lambda: None  # it is tried again at the interval
            if str(exc) != self._complaint:  # once, not each time
                logger.error("plugin %s cannot be rolled back: %s; %s", plugin.name, exc, reason)
            self._complaint = str(exc)
            return False
        self._complaint = None
        if known:
            return True  # another worker came to the same verdict, and has said so
        logger.error(
            "plugin %s %s (%.12s): rolled back to %s (%.12s) in all workers: %s",
            plugin.name,
            plugin.version,
            plugin.digest,
            probation.version,
            before,
            reason,
        )
        return True
