"""A plugins folder, or a file in it, that is away when a worker starts while others serve on.

The folder is being replaced, or a deploy has gone wrong: a full disk leaves empty files. An error
there would end more than the worker: gunicorn's master gives up the whole site when a worker
cannot boot. And one that served without the plugin would differ from the others.
"""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from ..config import Settings
from ..errors import ConfigError
from ..folder.scan import Candidate, Scan
from ..folder.settling import Timing
from ..machine.datadir import DataDirError
from ..machine.depot import Depot
from ..machine.fleet import WorkerState

logger = logging.getLogger("plugin_host")


def check_folder(settings: Settings, depot: Depot | None) -> None:
    """Make the plugins folder if that is wanted; it may be away while other workers serve from it.

    :raises ConfigError: it is not there, or is not a folder.
    """
    folder = settings.dir
    if settings.create_dir:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise ConfigError(
                f"PLUGIN_HOST_DIR {str(folder)!r} cannot be created: {exc.strerror};"
                " name a folder that this process may write"
            ) from exc
    try:
        mode = os.stat(folder).st_mode
    except (FileNotFoundError, NotADirectoryError) as exc:
        if others(settings, depot):
            logger.error(
                "plugins folder %s is away; what the other workers serve serves here, too", folder
            )
            return
        raise ConfigError(
            f"PLUGIN_HOST_DIR {str(folder)!r} does not exist; create it, name another folder, or"
            " set PLUGIN_HOST_CREATE_DIR"
        ) from exc
    except OSError:
        return  # it cannot be told now: the scan says why, and looks again
    if not stat.S_ISDIR(mode):
        raise ConfigError(f"PLUGIN_HOST_DIR {str(folder)!r} is not a folder; name a folder")


def known_good(scan: Scan, settings: Settings, depot: Depot | None) -> Iterator[Candidate]:
    """Yield what can serve in place of a folder, or of files, that cannot be read now."""
    if scan.folder_error is not None:
        yield from served_elsewhere(settings, depot)
    elif depot is not None:
        for problem in scan.errors:
            kept = depot.versions.last_of(problem.stem)
            if kept is not None:
                yield replace(kept, module_path=settings.dir / kept.module_path.name)


def served_elsewhere(settings: Settings, depot: Depot | None) -> Iterator[Candidate]:
    """Yield what the machine's other workers serve from the same folder, of what is kept."""
    if depot is None:
        return
    newest = sorted(others(settings, depot), key=lambda worker: worker.published_at)
    plugins = {p.get("name"): p for each in newest for p in each.status.get("plugins", ())}
    for name, plugin in plugins.items():
        if plugin.get("state") == "serving":
            candidate = depot.versions.get(str(plugin.get("digest")), name)
            if candidate is not None:
                yield candidate


def others(settings: Settings, depot: Depot | None) -> list[WorkerState]:
    """Return the live workers that look at the same folder; none where nobody can tell."""
    try:
        workers = [] if depot is None else depot.workers()
    except DataDirError:
        return []
    return [worker for worker in workers if worker.status.get("dir") == str(settings.dir)]


class Borrowed:
    """The stems of plugins that serve although no file of theirs could be read at the start."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stems: set[str] = set()
        self._missing_since: float | None = None

    def add(self, stem: str) -> None:
        """Note that a stem serves without a file."""
        self._stems.add(stem)

    def gone(self, scan: Scan) -> frozenset[str]:
        """Return those that are not there, or did not come back with the folder, to be unloaded.

        Not at once: a new folder is filled first. Those that are read are the scanner's to follow.
        """
        self._stems -= {candidate.stem for candidate in scan.candidates}
        missing = frozenset(self._stems) - scan.present
        if not missing or scan.folder_error is not None:
            self._missing_since = None
            return frozenset()
        if self._missing_since is None:
            self._missing_since = self._clock()
        if self._clock() - self._missing_since < Timing().new_folder:
            return frozenset()
        self._stems -= missing
        return missing
