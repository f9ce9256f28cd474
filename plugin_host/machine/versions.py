"""The good versions of each plugin, kept so that a rollback needs no file from the operator.

One file per name and digest, ``versions/<name>@<digest>.plugin``. Its content is checked against
the digest whenever it is read; its modification time says when it was last proven good. That of
``versions/<name>.there`` says when there was last such a plugin.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from plugin_host.errors import PluginHostError
from plugin_host.manifest.document import NAME_PATTERN

from ..files.private import open_private, read
from ..folder.scan import Candidate
from .datadir import DataDir, DataDirError, ours
from .owed import Owed
from .versionfile import is_kept, parse, parts_of, read_header

T = TypeVar("T")

_log = logging.getLogger("plugin_host")

_SUFFIX: Final = ".plugin"
_FILE: Final = re.compile(r"(?P<name>.+)@(?P<digest>[0-9a-f]{64})\.plugin")
_MAX_SIZE: Final = 2 * 1024 * 1024 * 1024  # PLUGIN_HOST_MAX_MODULE_SIZE goes up to half of it
#: Seconds for which the versions of a plugin are kept that is not there any more.
FORGET_AFTER: Final = 30 * 86400
#: Seconds to wait for whoever writes; a start must not wait for each of many plugins.
_PATIENCE: Final = 2.0
#: That a plugin is there is written down at most this often, in seconds.
_NOTE_EVERY: Final = 86400


class VersionError(PluginHostError):
    """No kept version, or more than one, is what an operator asked for."""


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A kept version; ``stored_at`` is the Unix time at which it was last proven good."""

    digest: str
    name: str
    version: str
    stored_at: float
    file: str
    module_size: int


class _Found(NamedTuple):
    path: Path
    name: str
    digest: str
    mtime_ns: int


class VersionStore:
    """Keeps the last ``keep`` good versions of each plugin, for all workers of the machine.

    Nothing here raises for what the file system refuses: one log line says so, and serving goes on.

    :param decided_at: the Unix time of the last decision on a plugin; what is put comes after it.
    """

    def __init__(
        self,
        datadir: DataDir,
        keep: int = 5,
        clock_ns: Callable[[], int] = time.time_ns,
        decided_at: Callable[[str], float] = lambda name: 0.0,
    ) -> None:
        self.keep = keep
        self._datadir = datadir
        self._clock_ns = clock_ns
        self._decided_at = decided_at
        self._complaint: str | None = None
        self._owed = Owed(clock_ns)

    def put(self, candidate: Candidate, name: str, version: str) -> bool:
        """Keep a version that was proven good; return whether it had not been kept.

        One that is kept already only becomes the newest. One that cannot be kept now is owed: see
        `put_owed`.
        """
        if not re.match(NAME_PATTERN, name):
            raise ValueError(f"{name!a} is not a plugin's name")
        parts = parts_of(candidate, version)
        try:
            path = self._datadir.folder("versions") / f"{name}@{candidate.digest}{_SUFFIX}"
            with self._locked():
                is_new = not is_kept(path, parts)
                if is_new:
                    self._datadir.write(path, parts, durable=True)
                self._make_newest(path, name)
        except (OSError, DataDirError) as error:
            why = ours(self._datadir.path / "versions", error)
            self._complain(f"{name} {version} cannot be kept for a rollback: {why}")
            self._owed.add(candidate, name, version)
            return False
        self._complaint = None
        return is_new

    def put_owed(self) -> bool:
        """Keep what could not be kept before, if it is time to try; return as `put` does."""
        added = [self.put(*each) for each in self._owed.take()]
        return any(added)

    def _locked(self) -> AbstractContextManager[None]:
        return self._datadir.lock("versions", 0.0 if self._complaint else _PATIENCE)

    def _make_newest(self, path: Path, name: str) -> None:
        others = (found.mtime_ns for found in self._find(name) if found.path != path)
        # After all others, and what was decided, also when the clock has stepped back.
        last = max(int(self._decided_at(name) * 1e9), *others, 0)
        stamp = max(self._clock_ns(), last + 1000)
        os.utime(path, ns=(stamp, stamp))

    def get(self, digest: str, name: str | None = None) -> Candidate | None:
        """Return a kept version, as it was when it was put; None if there is none.

        One that was damaged is removed. ``name``: the plugin, where several may share a digest.
        """
        for found in self._find(name):
            if found.digest == digest:
                candidate = self._load(found)
                if candidate is not None:
                    return candidate
        return None

    def history(self, name: str) -> list[StoredVersion]:
        """Return a plugin's kept versions, newest first."""
        versions = (self._describe(found) for found in self._find(name))
        return [version for version in versions if version is not None]

    def named(self, stem: str, name: str) -> str:
        """Return this name if versions of it are kept; else whose file was last called so.

        :param stem: what a file is called; ``name`` is returned if none was.
        """
        if self._find(name):
            return name
        versions = (self._describe(found) for found in self._find())
        return next((v.name for v in versions if v and Path(v.file).stem == stem), name)

    def find(self, name: str, prefix: str) -> StoredVersion:
        """Return the kept version whose digest begins like this.

        :raises VersionError: none does, or several do.
        """
        history = self.history(name)
        digest = resolve(prefix, [version.digest for version in history], f"version of {name}")
        return next(version for version in history if version.digest == digest)

    def previous(self, name: str, before: str, skip: Collection[str] = ()) -> StoredVersion | None:
        """Return the version to go back to from the digest ``before``; None if there is none.

        That is the newest one proven good before it, or the newest of all if it was never kept,
        leaving out the digests in ``skip``.
        """
        history = self.history(name)
        digests = [version.digest for version in history]
        older = history[digests.index(before) + 1 :] if before in digests else history
        return next((version for version in older if version.digest not in skip), None)

    def prune(self, protected: Collection[str] = (), there: Collection[str] | None = None) -> None:
        """Remove all but the newest ``keep`` versions of each plugin; never those protected.

        Of a plugin that has not been there for `FORGET_AFTER` seconds none stays.

        :param protected: digests that are pinned or serve.
        :param there: the names of the plugins that there are, serving or not; None if unknown.
        """
        try:
            with self._locked():  # nobody makes one newer meanwhile
                for versions in self._by_name():
                    keep = self.keep if self._is_there(versions[0], there) else 0
                    for found in versions[keep:]:
                        if found.digest not in protected:
                            self._remove(found.path)
        except (OSError, DataDirError) as error:
            why = ours(self._datadir.path / "versions", error)
            self._complain(f"old versions cannot be removed: {why}")

    def _by_name(self) -> Iterable[list[_Found]]:
        versions: dict[str, list[_Found]] = {}
        for found in self._find():
            versions.setdefault(found.name, []).append(found)
        return versions.values()

    def _is_there(self, newest: _Found, there: Collection[str] | None) -> bool:
        """Whether there is that plugin, or was lately; if there is, note it."""
        if there is None:
            return True
        note, now = newest.path.with_name(f"{newest.name}.there"), self._clock_ns()
        noted = _mtime_ns(note)
        if newest.name in there:
            if abs(now - noted) > _NOTE_EVERY * 1e9:
                self._datadir.write(note, [], durable=False)
                os.utime(note, ns=(now, now))
            return True
        if now - max(noted, newest.mtime_ns) < FORGET_AFTER * 1e9:
            return True
        for kind in ("there", "trial"):
            note.with_suffix(f".{kind}").unlink(missing_ok=True)
        return False

    def _find(self, name: str | None = None) -> list[_Found]:
        """List what is kept of one plugin, or of all, newest first."""
        found = []
        try:
            with os.scandir(self._datadir.path / "versions") as entries:
                for entry in entries:
                    match = _FILE.fullmatch(entry.name)
                    if match and name in (None, match["name"]):
                        path = Path(entry.path)
                        stamp = _mtime_ns(path)
                        found.append(_Found(path, match["name"], match["digest"], stamp))
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                self._complain(f"kept versions cannot be listed: {error}")
        return sorted(found, key=lambda f: (f.mtime_ns, f.digest), reverse=True)

    def _describe(self, found: _Found) -> StoredVersion | None:
        def describe() -> StoredVersion:
            with open(open_private(found.path, os.O_RDONLY), "rb") as file:
                header = read_header(file)
            at, file_name, size = found.mtime_ns / 1e9, header.file_name, header.module_size
            return StoredVersion(found.digest, found.name, header.version, at, file_name, size)

        return self._read(found, describe)

    def _load(self, found: _Found) -> Candidate | None:
        def load() -> Candidate:
            candidate = parse(read(found.path, _MAX_SIZE)[1])
            if candidate.digest != found.digest:
                raise ValueError(f"its content's digest is {candidate.digest:.12}")
            return candidate

        return self._read(found, load)

    def _read(self, found: _Found, how: Callable[[], T]) -> T | None:
        """Return what a file holds; a damaged one is removed."""
        try:
            return how()
        except FileNotFoundError:
            pass  # pruned by another worker
        except OSError as error:
            self._complain(f"{found.path.name} cannot be read: {error}")
        except ValueError as error:
            self._drop(found, str(error))
        return None

    def _drop(self, found: _Found, why: str) -> None:
        _log.error("%s: damaged (%s), removed", found.path, why)
        self._remove(found.path)

    def _remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            self._complain(f"{path.name} cannot be removed: {error}")

    def _complain(self, text: str) -> None:
        if text != self._complaint:  # once, not for every version of every worker
            _log.warning("%s", text)
        self._complaint = text


def resolve(prefix: str, digests: Iterable[str], what: str) -> str:
    """Return the one digest that begins with ``prefix``; ``what`` they are, for the message.

    :raises VersionError: none does, or several do.
    """
    there = sorted(set(digests))
    fitting = [digest for digest in there if prefix and digest.startswith(prefix.lower())]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        which = ", ".join(digest[: len(prefix) + 8] for digest in fitting)
        raise VersionError(f"{prefix} begins more than one {what}: {which}; give more digits")
    known = ", ".join(f"{digest:.12}" for digest in there) or "none"
    raise VersionError(f"no {what} begins with {prefix!a}; there are: {known}")


def _mtime_ns(path: Path) -> int:
    try:
        return path.lstat().st_mtime_ns
    except FileNotFoundError:
        return 0  # never made, or pruned by another worker: reading it will tell
