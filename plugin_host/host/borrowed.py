"""Plugins that serve although this process has read no file of theirs: kept versions do."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..config import Settings
from ..folder.scan import Scan
from ..folder.settling import Timing
from ..machine.depot import Depot
from .absent import elsewhere
from .lineup import Lineup


class Borrowed:
    """The stems of plugins that serve although no file of theirs has been read here."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: And since when no file is there; None while one is, or the folder is away.
        self._stems: dict[str, float | None] = {}

    def add(self, stem: str) -> None:
        """Note that a stem serves without a file."""
        self._stems.setdefault(stem, None)

    def borrow(self, lineup: Lineup, settings: Settings, depot: Depot | None) -> None:
        """Serve what other workers serve, from the versions that are kept, if there are any.

        What was loaded before a fork may be of long ago: what the others do not know goes.
        """
        plugins = elsewhere(settings, depot)
        if plugins is None or depot is None:
            return
        for stem, plugin in list(lineup.serving.items()):
            if plugin.name not in plugins:
                lineup.remove(stem)
        for name, said in plugins.items():
            candidate = depot.versions.get(str(said.get("digest")), name)
            if candidate is not None and said.get("state") == "serving":
                self.add(candidate.stem)
                lineup.take(candidate, background=False)

    def gone(self, scan: Scan) -> frozenset[str]:
        """Return those that did not come back with the folder; a new one is filled first."""
        now = self._clock()
        for candidate in scan.candidates:
            self._stems.pop(candidate.stem, None)
        for stem, since in self._stems.items():
            there = scan.folder_error is not None or stem in scan.present
            self._stems[stem] = None if there else since or now
        late = now - Timing().new_folder
        gone = {stem for stem, since in self._stems.items() if since is not None and since <= late}
        self._stems = {stem: at for stem, at in self._stems.items() if stem not in gone}
        return frozenset(gone)
