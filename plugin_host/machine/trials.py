"""Versions on probation, written down: a probation goes on in workers that are made meanwhile.

One small file per plugin, ``versions/<name>.trial``. Workers that swap at the same time write the
same, but for what each has seen of the version before.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from ..files.private import read
from .datadir import DataDir, DataDirError
from .moment import Moment

_MAX_SIZE: Final = 4096


class Trial(msgspec.Struct, frozen=True):
    """A probation that has begun, and what had become of the calls of the version before.

    :param digest: the version on probation.
    :param before: the digest of the one that it is compared with; ``version`` is that one's.
    :param since: a Unix time; ``moment``: the same.
    :param measured: the calls that took ``cpu_seconds`` of processor time.
    """

    digest: str
    before: str
    version: str
    since: float
    calls: int
    faults: int
    measured: int
    cpu_seconds: float
    moment: Moment | None = None


class Trials:
    """The trials of a data directory. What the file system refuses costs only what it gives."""

    def __init__(self, datadir: DataDir) -> None:
        self._datadir = datadir

    def read(self, name: str) -> Trial | None:
        """Return a plugin's trial; None if there is none that can be read."""
        try:
            return msgspec.json.decode(read(self._path(name), _MAX_SIZE)[1], type=Trial)
        except (OSError, ValueError, RecursionError):
            return None

    def begin(self, name: str, trial: Trial) -> None:
        """Write down that a probation has begun, unless that is known already."""
        known = self.read(name)
        if known is not None and (known.digest, known.before) == (trial.digest, trial.before):
            return
        try:
            self._datadir.folder("versions")
            self._datadir.write(self._path(name), [msgspec.json.encode(trial)], durable=False)
        except (OSError, DataDirError):
            pass  # keeping the version will say what is wrong

    def end(self, name: str, digest: str) -> None:
        """Forget a probation that is over, if it is this digest's."""
        known = self.read(name)
        try:
            if known is not None and known.digest == digest:
                self._path(name).unlink(missing_ok=True)
        except OSError:
            pass

    def _path(self, name: str) -> Path:
        return self._datadir.path / "versions" / f"{name}.trial"
