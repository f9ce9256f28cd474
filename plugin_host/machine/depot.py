"""What the workers of one machine share: decisions, good versions, compiled code, their states."""

from __future__ import annotations

import logging
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

from ..compilecache.cache import CompileCache
from ..config import Settings
from .controlfile import ControlFile
from .datadir import DataDir, DataDirError
from .fleet import Beacon, WorkerState, fleet
from .versions import VersionStore

logger = logging.getLogger("plugin_host")

#: Seconds after which kept versions are tidied although nothing has changed.
TIDY_INTERVAL = 86400.0


class Depot:
    """The parts of one data directory.

    :raises DataDirError: it cannot be made, or others could write there.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        self.datadir = DataDir.open(path)
        self.control = ControlFile(self.datadir)
        self.versions = VersionStore(
            self.datadir,
            settings.keep_versions,
            decided_at=lambda name: self.control.read().decided_at(name),
        )
        self.beacon = Beacon(self.datadir)
        self.cache = CompileCache(
            self.datadir.path / "cache", settings.max_cache, budget=settings.compile_timeout
        )
        self._tidied = float("-inf")

    def workers(self) -> list[WorkerState]:
        """Return the states of all live workers of the machine."""
        return fleet(self.datadir)

    def folders(self) -> set[str]:
        """Return the plugins folders that live workers look at, as far as that can be told."""
        with suppress(DataDirError):  # publishing says so
            return {str(worker.status.get("dir")) for worker in self.workers()}
        return set()

    def plugins(self) -> list[Any]:
        """Return what all live workers of the machine say of their plugins (operations.md, status).

        :raises DataDirError: it cannot be read.
        """
        return [each for worker in self.workers() for each in worker.status.get("plugins", ())]

    def tidy(self, there: Collection[str], serving: Collection[str], kept: bool) -> None:
        """Remove the kept versions that nobody needs, once a day or when there is one more.

        Never those that serve in a worker of the machine, or are pinned; see `VersionStore.prune`.

        :param there: the names of the plugins that this process has, serving or not.
        :param serving: the digests that it serves.
        :param kept: whether this process has just added a version.
        """
        kept |= self.versions.put_owed()
        now = monotonic()
        if not kept and now - self._tidied < TIDY_INTERVAL:
            return
        self._tidied = now
        try:
            plugins = self.plugins()
        except DataDirError:
            return  # what the workers say is not to be had: publishing has said so
        control = self.control.read()
        digests = {*serving, *(each.get("digest") for each in plugins), *control.pins.values()}
        names = {*there, *(each.get("name") for each in plugins), *control.pins, *control.disabled}
        self.versions.prune(digests, names)


def open_depot(settings: Settings) -> Depot | None:
    """Open the data directory; None, with one log line, if it cannot be used.

    Another one says that another site uses it, too, which then serves this one's kept versions.
    """
    if settings.data_dir is None:
        return None
    try:
        depot = Depot(settings.data_dir, settings)
    except DataDirError as exc:
        logger.warning(
            "%s; without it each worker compiles for itself, and nothing can be rolled back", exc
        )
        return None
    if others := depot.folders() - {str(settings.dir)}:
        logger.warning(
            "data directory: %r serves the plugins folder %s, too: plugins of one name share what"
            " is decided and kept; if that is another site, give each its own PLUGIN_HOST_DATA_DIR",
            str(settings.data_dir),
            ", ".join(map(repr, sorted(others))),
        )
    return depot
