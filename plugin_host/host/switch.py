"""Workers that swap together: each prepares, all agree on one moment, and each swaps at it.

What they agree on is one small file, ``switch.json``: the round. A worker that has prepared joins
the round, under a lock; whoever finds that nobody is missing sets the moment, a little ahead, and
the others, who look at the file every few milliseconds, sleep until it. Nobody leads, so nobody's
death matters; and nobody waits for longer than the bound.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

import msgspec

from plugin_host import osthread

from ..config import Settings
from ..files.private import read
from ..machine.datadir import DataDir, DataDirError
from ..machine.depot import Depot
from ..machine.fleet import Beacon, WorkerState, fleet
from ..serving.plugin import Plugin
from ..serving.registry import Canary

_log = logging.getLogger("plugin_host")

LEAD: Final = 0.03
"""Seconds from the agreement to the swap: within them every worker must have read the moment."""
_NAP: Final = 0.003  # seconds between two looks at the round
_CHECK: Final = 0.05  # seconds between two looks at who lives
_GRACE: Final = 0.25  # seconds beyond the bound for which the lock is waited for
_LATE: Final = 0.01  # seconds after the moment from which a swap is worth a line
_MAX_SIZE: Final = 1024 * 1024

#: A worker: its process's number, and since when it has a beacon.
_Who: TypeAlias = tuple[int, float]


class _Round(msgspec.Struct, frozen=True):
    """What the workers agree on; times are of the machine's monotonic clock.

    :param number: grows with each round.
    :param target: what is to serve.
    :param since: when the first worker had prepared.
    :param ready: who has prepared that target.
    :param moment: when all swap; None until that is agreed.
    """

    number: int
    target: str
    since: float
    ready: tuple[_Who, ...]
    moment: float | None = None


def target_of(plugins: Iterable[Plugin], canaries: Iterable[Canary]) -> str:
    """Return a digest of what serves: equal in two workers that serve the same versions."""
    serving = [("serving", plugin.name, plugin.digest) for plugin in plugins]
    return _digest([*serving, *(("canary", c.plugin.name, c.plugin.digest) for c in canaries)])


def _target_of_status(status: dict[str, Any]) -> str:
    entries = [(p.get("state"), p.get("name"), p.get("digest")) for p in status.get("plugins", ())]
    return _digest([e for e in entries if e[0] in ("serving", "canary")])


def _digest(parts: list[tuple[Any, ...]]) -> str:
    return hashlib.sha256(repr(sorted(map(repr, parts))).encode()).hexdigest()


class Switch:
    """One worker's part in the agreement; used by one thread, except for `close`.

    :param folder: the plugins folder: only workers of the same one swap together.
    :param timeout: seconds for which workers that have prepared wait for one that has not.
    :param workers: who lives; replaced in tests, like ``clock`` and ``sleep``.
    """

    def __init__(
        self,
        datadir: DataDir,
        beacon: Beacon,
        folder: str,
        timeout: float,
        *,
        workers: Callable[[], list[WorkerState]] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = osthread.sleep,
    ) -> None:
        self.path = datadir.path / "switch.json"
        self._datadir = datadir
        self._beacon = beacon
        self._folder = folder
        self._timeout = timeout
        self._workers = workers or (lambda: fleet(datadir))
        self._clock = clock
        self._sleep = sleep
        self._closed = False
        #: Since when this worker has something that it has not swapped to.
        self._began: float | None = None
        #: The last round of another target for which this worker has looked again.
        self._yielded = -1

    def close(self) -> None:
        """End a wait that is under way, from another thread: there is no swap then."""
        self._closed = True

    def agree(self, old: str, new: str) -> bool:
        """Wait until this worker is to swap; at once where it is alone, or nothing changes.

        Waits ``timeout`` seconds at most, and a little for a lock. What the file system refuses is
        logged, and this worker swaps alone.

        :param old: the target that serves; ``new``: the one that is prepared.
        :returns: False if another worker has prepared something else: look at the folder again,
            and come back, soon.
        """
        if old == new:
            self._began = None
            return True
        if self._began is None:
            self._began = self._clock()
        try:
            swap = self._agree(new, self._began)
        except (OSError, DataDirError) as error:
            _log.warning("the workers cannot agree on a moment, and swap each alone: %s", error)
            swap = True
        if swap:
            self._began = None
        return swap

    def _agree(self, target: str, began: float) -> bool:
        me = self._beacon.identity
        if me is None or not self._others(me):
            return True
        own = began + self._timeout
        check = self._clock()
        at = self._join(target, me, own)
        while at.target == target and me in at.ready and not self._closed:
            if at.moment is not None:
                self._await(at.moment)
                return True
            now = self._clock()
            late = now >= min(own, at.since + self._timeout)
            if late or now >= check:
                missing = self._missing(at, me)
                if late or not missing:
                    at = self._decide(at, missing, own)
                    continue
                check = now + _CHECK
            self._sleep(_NAP)
            at = self._read() or at
        return not self._closed and self._clock() >= own

    def _join(self, target: str, me: _Who, own: float) -> _Round:
        """Take part in the round of this target; return another's if that is to be looked at."""
        with self._lock(own):
            now, at = self._clock(), self._read()
            if at is None:
                at = _Round(0, target, now, (me,))
            elif at.moment is not None and _is_over(at.moment, now):
                late = at.target == target and me not in at.ready and self._swapped(at, me)
                at = _joined(at, me) if late else _Round(at.number + 1, target, now, (me,))
            elif not 0 <= now - at.since <= self._timeout + 2 * _GRACE:
                at = _Round(at.number + 1, target, now, (me,))  # whoever waited there is gone
            elif at.target == target:
                at = _joined(at, me)
            elif at.moment is not None or at.number != self._yielded:
                self._yielded = at.number
                return at
            else:  # it still is another, after a look at the folder: that one is to look then
                at = _Round(at.number + 1, target, at.since, (me,))
            self._write(at)
            return at

    def _decide(self, seen: _Round, missing: list[_Who], own: float) -> _Round:
        """Set the moment, unless another worker has, or the round is another's by now."""
        with self._lock(own):
            at = self._read() or seen
            if at.number != seen.number or at.moment is not None:
                return at
            at = msgspec.structs.replace(at, moment=self._clock() + LEAD)
            self._write(at)
        if missing:
            pids = ", ".join(str(pid) for pid, _ in missing)
            _log.warning(
                "swapping without waiting any longer for worker %s: not ready after %g s",
                pids,
                self._timeout,
            )
        return at

    def _await(self, moment: float) -> None:
        ahead = moment - self._clock()
        if 0 < ahead <= LEAD:
            self._sleep(ahead)
        elif ahead < -_LATE:
            _log.info("swapping %.0f ms after the other workers", -ahead * 1000)

    def _others(self, me: _Who) -> list[WorkerState]:
        return [
            worker
            for worker in self._workers()
            if _who(worker) != me and worker.status.get("dir") == self._folder
        ]

    def _missing(self, at: _Round, me: _Who) -> list[_Who]:
        """Return who lives and is not ready; whoever serves the target already is."""
        return [
            _who(worker)
            for worker in self._others(me)
            if _who(worker) not in at.ready and _target_of_status(worker.status) != at.target
        ]

    def _swapped(self, at: _Round, me: _Who) -> bool:
        """Whether workers that took part in a round that is over still live."""
        return any(_who(worker) in at.ready for worker in self._others(me))

    def _lock(self, own: float) -> Any:
        return self._datadir.lock("switch", max(0.0, own - self._clock()) + _GRACE)

    def _read(self) -> _Round | None:
        try:
            return msgspec.json.decode(read(self.path, _MAX_SIZE)[1], type=_Round)
        except (FileNotFoundError, ValueError, RecursionError):  # ValueError: not JSON, not UTF-8
            return None

    def _write(self, at: _Round) -> None:
        self._datadir.write(self.path, [msgspec.json.encode(at)], durable=False)


def switch_of(settings: Settings, depot: Depot | None) -> Switch | None:
    """Return a worker's part in the agreement; None if it swaps for itself."""
    if settings.switch != "together" or not settings.enabled:
        return None
    if depot is None:
        _log.warning(
            "PLUGIN_HOST_SWITCH is 'together', but there is no data directory: each worker"
            " swaps for itself; set PLUGIN_HOST_DATA_DIR to a folder where it can write"
        )
        return None
    return Switch(depot.datadir, depot.beacon, str(settings.dir), settings.switch_timeout)


def _who(worker: WorkerState) -> _Who:
    return worker.pid, worker.since


def _joined(at: _Round, me: _Who) -> _Round:
    if me in at.ready:
        return at
    return msgspec.structs.replace(at, ready=(*at.ready, me))


def _is_over(moment: float, now: float) -> bool:
    """Whether a moment has passed; one that is far ahead is from before the machine was booted."""
    return not now <= moment <= now + LEAD
