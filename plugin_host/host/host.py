"""One app's plugins in one process: the folder, what operators decided, and what serves."""

from __future__ import annotations

import logging
import os
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import osthread
from ..config import Settings
from ..errors import ConfigError, PluginHostError, PluginLoadError
from ..folder.scan import Candidate, Scan
from ..folder.scanner import FolderScanner
from ..folder.watcher import Watcher
from ..machine.control import Control, RolloutState, begin_rollout, describe
from ..machine.depot import open_depot
from ..wasm.runtime import rest
from . import status
from .loader import load, plugin_name
from .plugin import Plugin
from .probation import Probations
from .registry import Canary, Snapshot
from .selection import choose, decided, kept, last_good
from .status import Refusal
from .switch import Switch, target_of

logger = logging.getLogger("plugin_host")

#: Seconds between two publications of this worker's state while nothing else happens.
PUBLISH_INTERVAL = 1.0


class NameTaken(PluginLoadError):
    """Another file's plugin has the same name."""

    def __init__(self, path: Path, name: str, other: str) -> None:
        self.name = name
        super().__init__(
            path,
            f"its name {name!r} is that of the plugin from {other}",
            "rename one of them in its manifest, or remove one of the files",
        )


@dataclass(frozen=True, slots=True)
class Change:
    """One plugin's change at a swap; digests are None where nothing served or serves."""

    name: str
    old: str | None
    new: str | None


class Host:
    """Keeps `snapshot` in step with the plugins folder and with what operators decided.

    `reconcile` is called once at start-up, and then by the watcher's thread, which `watch` starts
    (never before a fork: the first request does).

    :param on_change: called after each swap of the snapshot, with the changes.
    :raises ConfigError: the folder is missing (and is not to be created) or is not a folder.
    """

    def __init__(
        self,
        settings: Settings,
        on_change: Callable[[tuple[Change, ...]], None] | None = None,
    ) -> None:
        _check_folder(settings)
        self.settings = settings
        #: What serves now; replaced as a whole, never changed.
        self.snapshot = Snapshot()
        #: What is shared with the other workers of the machine; None if there is no place for it.
        self.depot = open_depot(settings) if settings.enabled else None
        self._on_change = on_change
        self._scanner = FolderScanner(settings.dir, max_module_size=settings.max_module_size)
        self._lock = osthread.allocate_lock()  # guards all that follows, and reconciling
        self._control = Control()  # as last read
        self._awaited: set[str] = set()  # stems of which it is not yet followed
        self._followed = 0  # the generation that is followed in full
        self._names: dict[str, str] = {}  # plugins' names by stem
        self._serving: dict[str, Plugin] = {}  # by stem
        self._refused: dict[str, Refusal] = {}  # by stem
        self._disabled: dict[str, str] = {}  # plugins' names by stem
        self._afresh: set[str] = set()  # stems to load again although nothing changed
        self._canaries: dict[str, Canary] = {}  # by stem
        self._to_keep: list[tuple[Candidate, Plugin]] = []
        self._prepared: dict[str, Plugin] = {}  # by stem: what serves after the next swap
        self._switch = self._make_switch()
        self._published = 0.0
        self._watcher = Watcher(
            settings.dir,
            self.reconcile,
            settings.poll_interval,
            settings.watcher,
            self._scanner.hint,
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

    def _make_switch(self) -> Switch | None:
        settings, depot = self.settings, self.depot
        if settings.switch != "together" or not settings.enabled:
            return None
        if depot is None:
            logger.warning(
                "PLUGIN_HOST_SWITCH is 'together', but there is no data directory: each worker"
                " swaps for itself; set PLUGIN_HOST_DATA_DIR to a folder where it can write"
            )
            return None
        return Switch(depot.datadir, depot.beacon, str(settings.dir), settings.switch_timeout)

    def close(self) -> None:
        """Stop watching, and disappear from the fleet; the plugins go on serving."""
        if self._switch is not None:
            self._switch.close()
        self._watcher.stop()
        if self.depot is not None:
            self.depot.beacon.close()

    def reconcile(self, *, initial: bool = False) -> float | None:
        """Load what changed in the folder or was decided, and swap the snapshot, once.

        :param initial: at start-up: load at once what is whole, and announce nothing.
        :returns: seconds after which to look again without any event, or None.
        """
        with self._lock:
            before = self._control
            followed = self._follow_control()
            if followed and not initial:
                what = "; ".join(describe(before, self._control)) or "another replacement"
                logger.info("plugins: following generation %d: %s", self._control.generation, what)
            scan = self._scanner.scan(initial=initial)
            serving = dict(self._prepared)
            for stem in scan.removed:
                self._remove(stem, serving)
            for candidate in scan.candidates:
                self._take(candidate, serving, background=not initial)
            for problem in scan.errors:
                self._refuse(problem.stem, problem.error, None)
            self._forgive(scan)
            self._promote(serving)
            self._prepared, differs = serving, self._differs(serving)
            swapped = (initial or self._agreed(serving)) and differs
            changes = self._publish(serving) if swapped else ()
            self._keep()
            judged = self._probations is not None and self._probations.judge()
            done = self._note_followed(scan, differs > swapped)
            if not initial:
                self._announce(swapped or done)
        if initial:
            rest()  # the trial instances had deadlines; no thread may outlive start-up
        if changes and self._on_change is not None:
            self._on_change(changes)
        return 0.0 if judged or differs > swapped else scan.seconds_left(time.monotonic())

    def _keep(self) -> None:
        """Keep what has just been proven good; after the swap, since the disk may be slow."""
        to_keep, self._to_keep = self._to_keep, []
        if self.depot is not None:
            for candidate, plugin in to_keep:
                self.depot.versions.put(candidate, plugin.name, plugin.version)

    def reload(self) -> None:
        """Load everyone's files again, changed or not, in this process."""
        with self._lock:
            self._afresh.update(self._names)
            self._scanner.forget()
        self.reconcile(initial=True)

    def _follow_control(self) -> bool:
        """Have the plugins looked at again of which something else was decided."""
        if self.depot is None:
            return False
        old, new = self._control, self.depot.control.read()
        if new == old:
            return False
        self._control = new
        for stem, name in self._names.items():
            again = old.reloads_of(name) != new.reloads_of(name)
            if again:
                self._afresh.add(stem)
            if again or decided(old, name) != decided(new, name):
                self._scanner.forget(stem)
                self._awaited.add(stem)
        return True

    def _note_followed(self, scan: Scan, pending: bool) -> bool:
        """Return whether this look completed what was decided: files may have to settle first."""
        seen = {candidate.stem for candidate in scan.candidates} | scan.removed
        self._awaited -= seen | {problem.stem for problem in scan.errors}
        if self._awaited or pending or self._followed == self._control.generation:
            return False
        self._followed = self._control.generation
        return True

    def _take(self, candidate: Candidate, serving: dict[str, Plugin], background: bool) -> None:
        """Load what is to serve for these files, or say why not and leave the good one there."""
        stem = candidate.stem
        self._disabled.pop(stem, None)
        try:
            name = self._names[stem] = plugin_name(candidate)
            if name in self._control.disabled:
                self._disable(stem, name, serving)
                return
            chosen = choose(candidate, name, self._control, self.depot)
            loaded = self._load(chosen, serving, background)
            if loaded and chosen is candidate:
                # Only what came as a file becomes the newest version to go back to.
                self._to_keep.append((candidate, loaded))
        except PluginLoadError as exc:
            self._names.setdefault(stem, stem.lower())
            self._refuse(stem, exc, candidate.digest)
            if stem not in serving and not isinstance(exc, NameTaken):
                self._fall_back(candidate, serving)

    def _load(
        self, chosen: Candidate, serving: dict[str, Plugin], background: bool
    ) -> Plugin | None:
        """Load a version into ``serving`` and return it; None if it serves already."""
        stem, old = chosen.stem, serving.get(chosen.stem)
        canary = self._canaries.get(stem)
        if stem not in self._afresh:
            if old is not None and _is(old, chosen):
                self._refused.pop(stem, None)  # a bad version was replaced by the one that serves
                self._canaries.pop(stem, None)
                return None
            if canary is not None and _is(canary.plugin, chosen):
                return None
        began = time.monotonic()
        try:
            cache = self.depot.cache if self.depot else None
            plugin = load(chosen, self.settings, cache, background)
        except PluginLoadError:
            raise
        except Exception as exc:
            logger.exception("%s: cannot be loaded", chosen.module_path.name)
            reason = f"cannot be loaded: {type(exc).__name__}: {exc}"
            raise PluginLoadError(chosen.module_path, reason) from exc
        _check_name(plugin, stem, serving)
        self._canaries.pop(stem, None)
        if not self._begin_rollout(chosen, plugin, serving):
            serving[stem] = plugin
        self._afresh.discard(stem)
        self._refused.pop(stem, None)
        logger.info(
            "plugin %s %s (%.12s): %s from %s in %.0f ms",
            plugin.name,
            plugin.version,
            plugin.digest,
            "loaded" if old is None else f"replaced {old.version} ({old.digest:.12})",
            plugin.path.name,
            (time.monotonic() - began) * 1000,
        )
        return plugin

    def _begin_rollout(self, chosen: Candidate, plugin: Plugin, serving: dict[str, Plugin]) -> bool:
        """Let a new version serve a share at first, if its manifest wants that; whether it does.

        Also goes on with a rollout that was under way when this process started.
        """
        rollout, depot, stem = plugin.manifest.rollout, self.depot, chosen.stem
        control = self._control
        if rollout is None or depot is None or plugin.name in self._control.pins:
            return False
        old = serving.get(stem)
        if old is not None and old.digest != plugin.digest:
            state = RolloutState(plugin.digest, old.digest, time.time())
            try:
                control = depot.control.update(
                    lambda control: begin_rollout(control, plugin.name, state), "rollout"
                )
            except PluginHostError as exc:
                logger.error("plugin %s: no rollout by share: %s", plugin.name, exc)
                return False
        known = control.rollouts.get(plugin.name)
        if known is None or known.digest != plugin.digest:
            return False
        until = known.since + rollout.seconds
        if until <= time.time():
            return False
        if old is None:
            why = "its rollout is under way"
            stable = kept(chosen, plugin.name, known.before, depot, why)
            serving[stem] = load(stable, self.settings, depot.cache)
        self._canaries[stem] = Canary(plugin, rollout, until)
        return True

    def _promote(self, serving: dict[str, Plugin]) -> None:
        """Let the versions serve all whose rollout has come to its end."""
        for stem, canary in list(self._canaries.items()):
            if stem not in serving:
                del self._canaries[stem]
            elif canary.until <= time.time():
                del self._canaries[stem]
                serving[stem] = plugin = canary.plugin
                logger.info(
                    "plugin %s %s (%.12s): rolled out to all requests",
                    plugin.name,
                    plugin.version,
                    plugin.digest,
                )

    def _differs(self, serving: dict[str, Plugin]) -> bool:
        """Whether what is to serve is not what the snapshot has."""
        return serving != self._serving or {*self._canaries.values()} != {*self.snapshot.canaries}

    def _agreed(self, serving: dict[str, Plugin]) -> bool:
        """Whether to swap, at once or after a wait for the other workers; if not, look again."""
        if self._switch is None:
            return True
        now = self.snapshot
        versions = [*now.plugins, *(canary.plugin for canary in now.canaries)]
        if any(plugin.digest in self._control.quarantined for plugin in versions):
            return True  # the way back from a bad version waits for nobody
        old = target_of(now.plugins, now.canaries)
        return self._switch.agree(old, target_of(serving.values(), self._canaries.values()))

    def _fall_back(self, candidate: Candidate, serving: dict[str, Plugin]) -> None:
        """With nothing serving and a bad file, serve the last version that was good."""
        stem, name = candidate.stem, self._names.get(candidate.stem)
        if self.depot is None or name is None:
            return
        last = last_good(candidate, name, self._control, self.depot)
        refusal = self._refused.get(stem)
        if last is None:
            return
        try:
            version = kept(candidate, name, last.digest, self.depot, "its file is bad")
            self._load(version, serving, background=False)
        except PluginLoadError as exc:
            logger.error("plugin %s: its last good version does not load either: %s", name, exc)
            return
        if refusal is not None:
            self._refused[stem] = refusal  # still true: the newest file does not serve
        logger.warning(
            "plugin %s: the newest file is bad; %s (%.12s), the last good version, serves",
            name,
            last.version,
            last.digest,
        )

    def _disable(self, stem: str, name: str, serving: dict[str, Plugin]) -> None:
        self._disabled[stem] = name
        self._refused.pop(stem, None)
        if serving.pop(stem, None) is not None:
            logger.info("plugin %s: unloaded, it is disabled", name)

    def _refuse(self, stem: str, error: PluginLoadError, digest: str | None) -> None:
        known = self._refused.get(stem)
        if known is not None and str(known.error) == str(error) and known.digest == digest:
            return
        # Kept for long: its traceback would keep the plugins of that moment alive.
        error.__cause__ = error.__context__ = error.__traceback__ = None
        self._refused[stem] = Refusal(error, time.time(), digest)
        serving = self._serving.get(stem)
        kept = f"version {serving.version} ({serving.digest:.12}) keeps serving" if serving else ""
        logger.error("plugin not loaded: %s%s", str(error), f"; {kept}" if kept else "")

    def _remove(self, stem: str, serving: dict[str, Plugin]) -> None:
        self._refused.pop(stem, None)
        self._disabled.pop(stem, None)
        self._names.pop(stem, None)
        plugin = serving.pop(stem, None)
        if plugin is not None:
            logger.info("plugin %s %s: unloaded, its file is gone", plugin.name, plugin.version)

    def _forgive(self, scan: Scan) -> None:
        """Drop refusals that no longer hold: the file is gone, or is readable again."""
        failing = {problem.stem for problem in scan.errors}
        for stem, refusal in list(self._refused.items()):
            gone = scan.folder_error is None and stem not in scan.present | failing
            if gone or (refusal.digest is None and stem not in failing):
                del self._refused[stem]

    def _publish(self, serving: dict[str, Plugin]) -> tuple[Change, ...]:
        """Swap the snapshot: the one place where what serves changes."""
        names = {plugin.name for plugin in serving.values()}
        for stem, refusal in self._refused.items():
            if isinstance(refusal.error, NameTaken) and refusal.error.name not in names:
                self._scanner.forget(stem)  # its name is free now
        before, self._serving = self._serving, serving
        if self._probations is not None:
            newest = {stem: canary.plugin for stem, canary in self._canaries.items()}
            self._probations.begin({**serving, **newest}, before, self._control)
        self.snapshot = Snapshot(
            serving.values(), self.snapshot.generation + 1, self._canaries.values()
        )
        old = {plugin.name: plugin.digest for plugin in before.values()}
        new = {plugin.name: plugin.digest for plugin in serving.values()}
        return tuple(
            Change(name, old.get(name), new.get(name))
            for name in sorted(old.keys() | new.keys())
            if old.get(name) != new.get(name)
        )

    def _announce(self, changed: bool) -> None:
        """Let the other workers and the command line see this worker's state."""
        if self.depot is None:
            return
        now = time.monotonic()
        interval = PUBLISH_INTERVAL / 4 if self._probations else PUBLISH_INTERVAL
        if changed or now - self._published >= interval:
            self._published = now
            self.depot.beacon.publish(self.status())
        if changed:
            keep = {plugin.digest for plugin in self._serving.values()}
            self.depot.versions.prune({*keep, *self._control.pins.values()})

    def status(self) -> dict[str, Any]:
        """Return what serves in this process and what does not, JSON-able; times are Unix times."""
        snapshot, refused = self.snapshot, dict(self._refused)
        stems = {plugin.name: stem for stem, plugin in self._serving.items()}
        plugins = [
            status.serving(plugin, refused.pop(stems.get(plugin.name, ""), None))
            for plugin in snapshot.plugins
        ]
        plugins += [status.canary(each) for each in snapshot.canaries]
        plugins += [status.failed(stem, refusal) for stem, refusal in sorted(refused.items())]
        plugins += [status.disabled(name, stem) for stem, name in sorted(self._disabled.items())]
        return {
            "pid": os.getpid(),
            "dir": str(self.settings.dir),
            "generation": snapshot.generation,
            "control_generation": self._followed,
            "plugins": plugins,
            "watcher": self._watcher.health() if self.settings.reload else None,
        }


def _is(plugin: Plugin, candidate: Candidate) -> bool:
    return plugin.digest == candidate.digest and plugin.path == candidate.module_path


def _check_name(plugin: Plugin, stem: str, serving: dict[str, Plugin]) -> None:
    for other_stem, other in serving.items():
        if other_stem != stem and other.name == plugin.name:
            raise NameTaken(plugin.path, plugin.name, other.path.name)


def _check_folder(settings: Settings) -> None:
    folder = settings.dir
    if settings.create_dir:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise ConfigError(
                f"PLUGIN_HOST_DIR {str(folder)!r} cannot be created: {exc.strerror};"
                " name a folder that this process may write"
            ) from exc
    if not folder.exists():
        raise ConfigError(
            f"PLUGIN_HOST_DIR {str(folder)!r} does not exist; create it, name another folder, or"
            " set PLUGIN_HOST_CREATE_DIR"
        )
    if not folder.is_dir():
        raise ConfigError(f"PLUGIN_HOST_DIR {str(folder)!r} is not a folder; name a folder")


def _nothing() -> None:
    pass
