"""One app's plugins in one process: the folder, what it was last seen to hold, and what serves."""

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
from ..errors import ConfigError, PluginLoadError
from ..wasm.runtime import rest
from .folder import FolderScanner
from .loader import load
from .plugin import Plugin
from .registry import Snapshot
from .scan import Candidate, Scan
from .watcher import Watcher

logger = logging.getLogger("plugin_host")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a plugin's newest files do not serve."""

    error: PluginLoadError
    at: float
    digest: str | None


class NameTaken(PluginLoadError):
    """Another file's plugin has the same name."""

    def __init__(self, path: Path, name: str, other: str) -> None:
        self.name = name
        super().__init__(
            path,
            f"its name {name!r} is that of the plugin from {other}",
            "rename one of them in its manifest, or remove one of the files",
        )


class Host:
    """Keeps `snapshot` in step with the plugins folder.

    `reconcile` is called once at start-up, and then by the watcher's thread, which `watch` starts
    (never before a fork: the first request does).

    :raises ConfigError: the folder is missing (and is not to be created) or is not a folder.
    """

    def __init__(self, settings: Settings) -> None:
        _check_folder(settings)
        self.settings = settings
        #: What serves now; replaced as a whole, never changed.
        self.snapshot = Snapshot()
        self._scanner = FolderScanner(settings.dir, max_module_size=settings.max_module_size)
        self._serving: dict[str, Plugin] = {}  # by stem; guarded by _lock
        self._refused: dict[str, Refusal] = {}  # by stem; guarded by _lock
        self._lock = osthread.allocate_lock()
        self._watcher = Watcher(
            settings.dir,
            self.reconcile,
            settings.poll_interval,
            settings.watcher,
            self._scanner.hint,
        )
        #: What each request calls: starts watching the folder, in this process, once.
        self.watch: Callable[[], None] = (
            self._watcher.ensure_started if settings.reload else _nothing
        )
        if hasattr(os, "register_at_fork"):
            renew = weakref.WeakMethod(self._renew_lock)
            os.register_at_fork(after_in_child=lambda: (renew() or _nothing)())

    def _renew_lock(self) -> None:
        """A thread that does not exist in a forked child may have held it."""
        self._lock = osthread.allocate_lock()

    def close(self) -> None:
        """Stop watching; the plugins go on serving."""
        self._watcher.stop()

    def reconcile(self, *, initial: bool = False) -> float | None:
        """Load what changed in the folder and swap the snapshot, once.

        :returns: seconds after which to look again without any event, or None.
        """
        with self._lock:
            scan = self._scanner.scan(initial=initial)
            serving = dict(self._serving)
            for stem in scan.removed:
                self._remove(stem, serving)
            for candidate in scan.candidates:
                self._take(candidate, serving)
            for problem in scan.errors:
                self._refuse(problem.stem, problem.error, None)
            self._forgive(scan)
            if serving != self._serving:
                self._publish(serving)
        if initial:
            rest()  # the trial instances had deadlines; no thread may outlive start-up
        return scan.seconds_left(time.monotonic())

    def reload(self, stem: str | None = None) -> None:
        """Load one plugin's files, or everyone's, again, changed or not."""
        with self._lock:
            self._scanner.forget(stem)
        self.reconcile(initial=True)

    def _take(self, candidate: Candidate, serving: dict[str, Plugin]) -> None:
        """Load a candidate into ``serving``, or say why not and leave the good one there."""
        stem, old = candidate.stem, serving.get(candidate.stem)
        if old is not None and old.digest == candidate.digest and old.path == candidate.module_path:
            self._refused.pop(stem, None)  # a bad version was replaced by the one that serves
            return
        began = time.monotonic()
        try:
            plugin = load(candidate, self.settings)
            _check_name(plugin, stem, serving)
        except PluginLoadError as exc:
            self._refuse(stem, exc, candidate.digest)
            return
        except Exception as exc:
            logger.exception("%s: cannot be loaded", candidate.module_path.name)
            reason = f"cannot be loaded: {type(exc).__name__}: {exc}"
            self._refuse(stem, PluginLoadError(candidate.module_path, reason), candidate.digest)
            return
        serving[stem] = plugin
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

    def _publish(self, serving: dict[str, Plugin]) -> None:
        names = {plugin.name for plugin in serving.values()}
        for stem, refusal in self._refused.items():
            if isinstance(refusal.error, NameTaken) and refusal.error.name not in names:
                self._scanner.forget(stem)  # its name is free now
        self._serving = serving
        self.snapshot = Snapshot(serving.values(), self.snapshot.generation + 1)

    def status(self) -> dict[str, Any]:
        """Return what serves in this process and what does not, JSON-able; times are Unix times."""
        snapshot, refused = self.snapshot, dict(self._refused)
        stems = {plugin.name: stem for stem, plugin in self._serving.items()}
        plugins = [
            _describe(plugin, refused.pop(stems.get(plugin.name, ""), None))
            for plugin in snapshot.plugins
        ]
        return {
            "pid": os.getpid(),
            "dir": str(self.settings.dir),
            "generation": snapshot.generation,
            "plugins": plugins
            + [_describe_refused(stem, r) for stem, r in sorted(refused.items())],
            "watcher": self._watcher.health() if self.settings.reload else None,
        }


def _describe(plugin: Plugin, refusal: Refusal | None) -> dict[str, Any]:
    totals = plugin.totals()
    return {
        "name": plugin.name,
        "version": plugin.version,
        "description": plugin.manifest.description,
        "file": plugin.path.name,
        "digest": plugin.digest,
        "abi": plugin.abi,
        "hooks": list(plugin.hooks),
        "order": plugin.manifest.order,
        "state": "serving",
        "loaded_at": plugin.loaded_at,
        "load_error": str(refusal.error) if refusal else None,
        **totals,
    }


def _describe_refused(stem: str, refusal: Refusal) -> dict[str, Any]:
    return {
        "name": stem,
        "version": None,
        "description": "",
        "file": refusal.error.path.name,
        "digest": refusal.digest,
        "abi": None,
        "hooks": [],
        "order": None,
        "state": "failed",
        "loaded_at": None,
        "load_error": str(refusal.error),
        "calls": 0,
        "errors": 0,
        "seconds": 0.0,
        "instances": 0,
        "last_error": str(refusal.error),
        "last_error_at": refusal.at,
    }


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
