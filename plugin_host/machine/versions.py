"""The good versions of each plugin, kept so that a rollback needs no file from the operator.

One file per name and digest, ``versions/<name>@<digest>.plugin``: a line of JSON, the module, the
manifest. Its content is checked against the digest whenever it is read; its modification time says
when it was last proven good.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

import msgspec

from plugin_host.errors import PluginHostError
from plugin_host.manifest.document import NAME_PATTERN

from ..files.private import read, sweep
from ..folder.scan import Candidate
from .datadir import DataDir, DataDirError

_log = logging.getLogger("plugin_host")

_SUFFIX: Final = ".plugin"
_FILE: Final = re.compile(r"(?P<name>.+)@(?P<digest>[0-9a-f]{64})\.plugin")
_MAX_SIZE: Final = 2 * 1024 * 1024 * 1024  # PLUGIN_HOST_MAX_MODULE_SIZE goes up to half of it
_MAX_HEADER: Final = 64 * 1024


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


class _Header(msgspec.Struct, frozen=True):
    """The first line of a file; file names may hold any bytes, so they are %-quoted."""

    version: str
    stem: str
    module_path: str
    manifest_path: str | None
    module_size: int


class _Found(NamedTuple):
    path: Path
    name: str
    digest: str
    mtime_ns: int


class VersionStore:
    """Keeps the last ``keep`` good versions of each plugin, for all workers of the machine.

    Nothing here raises for what the file system refuses: one log line says so, and serving goes on.
    """

    def __init__(
        self, datadir: DataDir, keep: int = 5, clock_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self.keep = keep
        self._datadir = datadir
        self._clock_ns = clock_ns
        self._complaint: str | None = None

    def put(self, candidate: Candidate, name: str, version: str) -> bool:
        """Keep a version that was proven good; return whether it is kept now.

        One that is kept already only becomes the newest.
        """
        if not re.match(NAME_PATTERN, name):
            raise ValueError(f"{name!a} is not a plugin's name")
        header = msgspec.json.encode(_header(candidate, version)) + b"\n"
        try:
            path = self._datadir.folder("versions") / f"{name}@{candidate.digest}{_SUFFIX}"
            with self._datadir.lock("versions"):
                if _is_kept(path, header, candidate):
                    now = self._clock_ns()
                    os.utime(path, ns=(now, now))
                else:
                    self._write(path, header, candidate)
        except (OSError, DataDirError) as error:
            self._complain(f"{name} {version} cannot be kept for a rollback: {error}")
            return False
        self._complaint = None
        return True

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

    def prune(self, protected: Collection[str] = ()) -> None:
        """Remove all but the newest ``keep`` versions of each plugin; never those protected.

        :param protected: digests that are pinned or serve.
        """
        seen: dict[str, int] = {}
        try:
            sweep(self._datadir.folder("versions"))
            with self._datadir.lock("versions"):  # nobody makes one newer meanwhile
                for found in self._find():
                    seen[found.name] = seen.get(found.name, 0) + 1
                    if seen[found.name] > self.keep and found.digest not in protected:
                        self._remove(found.path)
        except (OSError, DataDirError) as error:
            self._complain(f"old versions cannot be removed: {error}")

    def _write(self, path: Path, header: bytes, candidate: Candidate) -> None:
        self._datadir.write(
            path, [header, candidate.module, candidate.manifest or b""], durable=True
        )
        now = self._clock_ns()
        os.utime(path, ns=(now, now))

    def _find(self, name: str | None = None) -> list[_Found]:
        """List what is kept of one plugin, or of all, newest first."""
        found = []
        try:
            with os.scandir(self._datadir.path / "versions") as entries:
                for entry in entries:
                    match = _FILE.fullmatch(entry.name)
                    if match and name in (None, match["name"]):
                        found.append(_found(entry, match["name"], match["digest"]))
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                self._complain(f"kept versions cannot be listed: {error}")
        return sorted(found, key=lambda f: (f.mtime_ns, f.digest), reverse=True)

    def _describe(self, found: _Found) -> StoredVersion | None:
        try:
            with open(found.path, "rb") as file:
                header = _decode(file.readline(_MAX_HEADER))
        except FileNotFoundError:
            return None  # pruned by another worker
        except OSError as error:
            self._complain(f"{found.path.name} cannot be read: {error}")
            return None
        except ValueError as error:
            self._drop(found, str(error))
            return None
        file_name = _unquote(header.module_path).name
        stored_at = found.mtime_ns / 1e9
        return StoredVersion(
            found.digest, found.name, header.version, stored_at, file_name, header.module_size
        )

    def _load(self, found: _Found) -> Candidate | None:
        try:
            candidate = _parse(read(found.path, _MAX_SIZE)[1])
        except FileNotFoundError:
            return None
        except OSError as error:
            self._complain(f"{found.path.name} cannot be read: {error}")
            return None
        except ValueError as error:
            self._drop(found, str(error))
            return None
        if candidate.digest != found.digest:
            self._drop(found, f"its content's digest is {candidate.digest:.12}")
            return None
        return candidate

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
    raise VersionError(f"no {what} begins with {prefix!a}; kept: {known}")


def _found(entry: os.DirEntry[str], name: str, digest: str) -> _Found:
    try:
        mtime_ns = entry.stat(follow_symlinks=False).st_mtime_ns
    except FileNotFoundError:
        mtime_ns = 0  # pruned by another worker: reading it will tell
    return _Found(Path(entry.path), name, digest, mtime_ns)


def _header(candidate: Candidate, version: str) -> _Header:
    return _Header(
        version,
        _quote(candidate.stem),
        _quote(candidate.module_path),
        None if candidate.manifest_path is None else _quote(candidate.manifest_path),
        len(candidate.module),
    )


def _parse(content: bytes) -> Candidate:
    """Turn a file's content into what was put, without checking the digest.

    :raises ValueError: it is damaged.
    """
    line, _, rest = content.partition(b"\n")
    header = _decode(line + b"\n")
    paths, parts = [_unquote(header.module_path)], [rest[: header.module_size]]
    if header.manifest_path is not None:
        paths.append(_unquote(header.manifest_path))
        parts.append(rest[header.module_size :])
    return Candidate.of(str(_unquote(header.stem)), paths, parts)


def _decode(line: bytes) -> _Header:
    try:
        return msgspec.json.decode(line, type=_Header)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _is_kept(path: Path, header: bytes, candidate: Candidate) -> bool:
    size = len(header) + len(candidate.module) + len(candidate.manifest or b"")
    try:
        with open(path, "rb") as file:
            return os.fstat(file.fileno()).st_size == size and file.read(len(header)) == header
    except FileNotFoundError:
        return False


def _quote(text: str | Path) -> str:
    return quote_from_bytes(os.fsencode(text))


def _unquote(text: str) -> Path:
    return Path(os.fsdecode(unquote_to_bytes(text)))
