"""One app's plugins in one process: follows the folder and what operators decided, and serves."""

from __future__ import annotations

import logging
import os
import time
import weakref
from collections.abc import Callable
from typing import Any

from .. import osthread, trust
from ..config import Settings
from ..folder.scan import Scan
from ..folder.scanner import FolderScanner
from ..folder.watcher import Watcher
from ..folder.wholefile import PluginFolder
from ..hostfunctions.app import NO_APP, App
from ..machine.control import describe
from ..machine.depot import open_depot
from ..serving.plugin import Plugin
from ..serving.registry import Snapshot
from ..wasm.runtime import rest
from . import status
from .absent import check_folder
from .appservices import AppServices
from .borrowed import Borrowed
from .change import Change, changes_of
from .lineup import Lineup
from .naming import freed
from .probation import Probations
from .retrying import Retries
from .selection import decided
from .switch import switch_of, target_of

logger = logging.getLogger("plugin_host")

#: Seconds between two publications of this worker's state while nothing else happens.
PUBLISH_INTERVAL = 1.0


class Host:
    """Keeps `snapshot` in step with the plugins folder and with what operators decided.

    `reconcile` is called once at start-up, and then by the watcher's thread, which `watch` starts
    (never before a fork: the first request does).

    :param on_change: called after each swap of the snapshot, with the changes.
    :param app: what the app itself does for its plugins.
    :raises ConfigError: the folder is missing (and is not to be created) or is not a folder; or
        trusted keys cannot be used; or a package that the configuration calls for is missing.
    """

    def __init__(
        self,
        settings: Settings,
        on_change: Callable[[tuple[Change, ...]], None] | None = None,
        app: App = NO_APP,
    ) -> None:
        trust.prepare(settings)
        self.settings = settings
        #: What serves now; replaced as a whole, never changed.
        self.snapshot = Snapshot()
        #: What is shared with the other workers of the machine; None if there is no place for it.
        self.depot = open_depot(settings) if settings.enabled else None
        if settings.enabled:
            check_folder(settings, self.depot)
        #: What plugins' host functions may use of this app.
        self.services = AppServices(settings, app)
        self._on_change = on_change
        self._scanner = FolderScanner(
            settings.dir,
            max_module_size=settings.max_module_size,
            files=PluginFolder.of(settings),
        )
        self._lock = osthread.allocate_lock()  # guards all that follows, and reconciling
        self._lineup = Lineup(settings, self.depot, self.services.of)
        self._serving: dict[str, Plugin] = {}  # by stem: what the snapshot was made of
        self._borrowed = Borrowed()
        self._retries = Retries(self.depot)
        self._awaited: set[str] = set()  # stems of which what was decided is not yet followed
        self._followed = 0  # the generation that is followed in full
        self._switch = switch_of(settings, self.depot)
        self._published = 0.0
        self._watcher = Watcher(
            settings.dir,
            self.reconcile,
            settings.poll_interval,
            settings.watcher,
            self._scanner.hint,
            also=self.depot.control.path if self.depot is not None else None,
        )
        self._probations = (
            None if self.depot is None else Probations(settings, self.depot, self._watcher.wake)
        )
        #: What each request calls: starts watching the folder, in this process, once.
        self.watch: Callable[[], None] = (
            self._watcher.ensure_started if settings.reload and settings.enabled else _nothing
        )
        if hasattr(os, "register_at_fork"):
            renew = weakref.WeakMethod(self._renew_lock)
            os.register_at_fork(after_in_child=lambda: (renew() or _nothing)())

    def _renew_lock(self) -> None:
        """A thread that does not exist in a forked child may have held it."""
        self._lock = osthread.allocate_lock()

    def close(self) -> None:
        """Stop watching, and disappear from the fleet; the plugins go on serving."""
        if self._switch is not None:
            self._switch.close()
        self._watcher.stop()
        if self.depot is not None:
            self.depot.beacon.close()
        self.services.close()

    def reconcile(self, *, initial: bool = False) -> float | None:
        """Load what changed in the folder or was decided, and swap the snapshot, once.

        :param initial: at start-up: load at once what is whole, and announce nothing.
        :returns: seconds after which to look again without any event, or None.
        """
        with self._lock:
            self._follow_control(quietly=initial)
            for stem in self._retries.due(self._lineup.refused):
                self._scanner.forget(stem)
            scan = self._scanner.scan(initial=initial)
            self._follow_folder(scan, background=not initial)
            if initial and scan.folder_error:
                self._borrowed.borrow(self._lineup, self.settings, self.depot)
            self._hold(scan, initial)
            self._lineup.promote()
            differs = self._differs()
            swapped = (initial or self._agreed()) and differs
            changes = self._publish() if swapped else ()
            kept = self._keep()
            judged = self._probations is not None and self._probations.judge()
            done = self._note_followed(scan, differs > swapped)
            self._lineup.starting = False
            if not initial:
                self._announce(swapped or done)
                self._tidy(kept)
        if initial:
            rest()  # the trial instances had deadlines; no thread may outlive start-up
        if changes and self._on_change is not None:
            self._on_change(changes)
        return 0.0 if judged or differs > swapped else scan.seconds_left(time.monotonic())

    def reload(self) -> None:
        """Load everyone's files again, changed or not, in this process."""
        with self._lock:
            for stem in self._lineup.names:
                self._lineup.load_again(stem)
            self._scanner.forget()
        self.reconcile(initial=True)

    def _follow_folder(self, scan: Scan, background: bool) -> None:
        lineup = self._lineup
        for stem in scan.removed | self._borrowed.gone(scan):
            lineup.remove(stem)
        for candidate in scan.candidates:
            lineup.take(candidate, background)
        for problem in scan.errors:
            lineup.refuse(problem.stem, problem.error, None)
        lineup.forgive(scan)

    def _hold(self, scan: Scan, initial: bool) -> None:
        """Care for plugins whose files cannot serve, or cannot be had now."""
        lineup = self._lineup
        taken = {candidate.stem for candidate in scan.candidates}
        stems = (lineup.bad() - scan.unsettled) | self._awaited
        if initial:
            stems |= scan.unsettled
        for stem in sorted(stems - taken - scan.removed):
            lineup.hold(stem)
            if stem in lineup.serving:
                self._borrowed.add(stem)

    def _follow_control(self, quietly: bool) -> None:
        """Have the plugins looked at again of which something else was decided."""
        lineup = self._lineup
        if self.depot is None:
            return
        old, new = lineup.control, self.depot.control.read()
        if new == old:
            return
        lineup.control = new
        # A quarantine is of a content, which may be several plugins'.
        same = self._scanner.made_of(old.quarantined.keys() ^ new.quarantined.keys())
        for stem in lineup.names:
            names = lineup.called(stem)
            again = any(old.reloads_of(name) != new.reloads_of(name) for name in names)
            if again:
                lineup.load_again(stem)
            if again or stem in same or any(decided(old, n) != decided(new, n) for n in names):
                self._scanner.forget(stem)
                self._awaited.add(stem)
        if not quietly:
            what = "; ".join(describe(old, new)) or "another replacement"
            logger.info("plugins: following generation %d: %s", new.generation, what)

    def _note_followed(self, scan: Scan, pending: bool) -> bool:
        """Return whether this look completed what was decided: files may have to settle first."""
        seen = {candidate.stem for candidate in scan.candidates} | scan.removed
        self._awaited -= seen | {problem.stem for problem in scan.errors}
        if scan.folder_error is not None:
            self._awaited.clear()  # what could be done without files is done
        generation = self._lineup.control.generation
        if self._awaited or pending or self._followed == generation:
            return False
        self._followed = generation
        return True

    def _differs(self) -> bool:
        """Whether what is to serve is not what the snapshot has."""
        lineup = self._lineup
        return (
            lineup.serving != self._serving
            or {*lineup.canaries.values()} != {*self.snapshot.canaries}
            or {*lineup.standing_in.values()} != self.snapshot.standing_in
        )

    def _agreed(self) -> bool:
        """Whether to swap, at once or after a wait for the other workers; if not, look again."""
        if self._switch is None:
            return True
        now, lineup = self.snapshot, self._lineup
        versions = [*now.plugins, *(canary.plugin for canary in now.canaries)]
        if any(plugin.digest in lineup.control.quarantined for plugin in versions):
            return True  # the way back from a bad version waits for nobody
        old = target_of(now.plugins, now.canaries)
        return self._switch.agree(old, target_of(lineup.serving.values(), lineup.canaries.values()))

    def _publish(self) -> tuple[Change, ...]:
        """Swap the snapshot: the one place where what serves changes."""
        lineup = self._lineup
        for stem in freed(lineup.serving, lineup.refused):
            self._scanner.forget(stem)
        before, self._serving = self._serving, dict(lineup.serving)
        if self._probations is not None:
            newest = {stem: canary.plugin for stem, canary in lineup.canaries.items()}
            self._probations.begin({**self._serving, **newest}, before, lineup.control)
        self.snapshot = Snapshot(
            self._serving.values(),
            self.snapshot.generation + 1,
            lineup.canaries.values(),
            lineup.standing_in.values(),
        )
        return changes_of(before, self._serving)

    def _keep(self) -> bool:
        """Keep what has just been proven good, after the swap, since the disk may be slow.

        :returns: whether this worker was the first to keep any of it.
        """
        proven, depot = self._lineup.proven(), self.depot
        if depot is None:
            return False
        added = [depot.versions.put(each, it.name, it.version) for each, it in proven]
        return any(added)

    def _announce(self, changed: bool) -> None:
        """Let the other workers and the command line see this worker's state."""
        if self.depot is None:
            return
        now = time.monotonic()
        judging = self._probations is not None and self._probations.is_active
        interval = PUBLISH_INTERVAL / 4 if judging else PUBLISH_INTERVAL
        if changed or now - self._published >= interval:
            self._published = now
            self.depot.beacon.publish(self.status())

    def _tidy(self, kept: bool) -> None:
        """Remove old versions, if one has just been added."""
        if self.depot is not None:
            serving = {plugin.digest for plugin in self._serving.values()}
            self.depot.tidy(set(self._lineup.names.values()), serving, kept)

    def status(self) -> dict[str, Any]:
        """Return what serves in this process and what does not, JSON-able; times are Unix times."""
        snapshot, refused = self.snapshot, dict(self._lineup.refused)
        stems = {plugin.name: stem for stem, plugin in self._serving.items()}
        serving = [
            status.serving(plugin, refused.get(stems.get(plugin.name, "")))
            for plugin in snapshot.plugins
        ]
        canaries = [status.canary(each) for each in snapshot.canaries]
        return {
            "pid": os.getpid(),
            "dir": str(self.settings.dir),
            "generation": snapshot.generation,
            "control_generation": self._followed,
            "plugins": [*serving, *canaries, *self._lineup.status()],
            "watcher": self._watcher.health() if self.settings.reload else None,
        }


def _nothing() -> None:
    pass
