"""What the workers of one machine share: decisions, good versions, compiled code, their states."""

from __future__ import annotations

import logging
from pathlib import Path

from ..config import Settings
from ..wasm.cache import CompileCache
from .controlfile import ControlFile
from .datadir import DataDir, DataDirError
from .fleet import Beacon, WorkerState, fleet
from .versions import VersionStore

logger = logging.getLogger("plugin_host")


class Depot:
    """The parts of one data directory.

    :raises DataDirError: it cannot be made, or others could write there.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        self.datadir = DataDir.open(path)
        self.control = ControlFile(self.datadir)
        self.versions = VersionStore(self.datadir, settings.keep_versions)
        self.beacon = Beacon(self.datadir)
        self.cache = CompileCache(self.datadir.path / "cache", settings.max_cache)

    def workers(self) -> list[WorkerState]:
        """Return the states of all live workers of the machine."""
        return fleet(self.datadir)


def open_depot(settings: Settings) -> Depot | None:
    """Open the data directory; None, with one log line, if it cannot be used."""
    if settings.data_dir is None:
        return None
    try:
        return Depot(settings.data_dir, settings)
    except DataDirError as exc:
        logger.warning(
            "%s; without it each worker compiles for itself, and nothing can be rolled back", exc
        )
        return None
