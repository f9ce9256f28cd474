"""The plugins folder, seen level-triggered: its state decides, events only say when to look.

`FolderScanner.scan` compares the folder with what it handed out before and hands out each plugin
whose files changed and are whole. It reads; it neither parses nor compiles, and it never waits:
`Scan.pending_until` says when to look again although nothing happens.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path

from plugin_host.errors import PluginFileError, printable
from plugin_host.folder.scan import Candidate, FolderError, Scan
from plugin_host.folder.settling import (
    MANIFEST_SUFFIX,
    SIGNATURE_SUFFIX,
    Event,
    FileState,
    StemState,
    Timing,
    split_name,
)
from plugin_host.folder.wholefile import Files, PluginFolder, Status, unreadable

MAX_MANIFEST_SIZE = 1 << 20
MAX_SIGNATURE_SIZE = 1 << 14
_FRESH = 10.0  # seconds; an older stamp cannot hide a later write

_log = logging.getLogger(__name__)


class FolderScanner:
    """Finds what changed in the plugins folder since it was handed out.

    `scan` and `forget` belong to one thread at a time (the caller's lock); `hint` may be called
    from any thread. A candidate that was handed out is not handed out again, whatever became of
    it, until its content changes or `forget` is called.

    :param max_module_size: bytes; a larger module is an error and is not read.
    :param clock: monotonic seconds.
    :param wall: seconds of the clock that the file system stamps with.
    """

    def __init__(
        self,
        directory: Path,
        *,
        max_module_size: int,
        timing: Timing | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        files: Files | None = None,
    ) -> None:
        self.directory = directory
        self._limit = max_module_size
        self._timing = timing or Timing()
        self._clock = clock
        self._wall = wall
        self._files: Files = files or PluginFolder(directory)
        self._stems: dict[str, StemState] = {}
        self._hints: deque[tuple[str, Event, float]] = deque(maxlen=10_000)
        self._identity: tuple[int, int] | None = None
        self._folder_since = float("-inf")
        self._missing: str | None = None
        self._seen: tuple[tuple[int, int], dict[str, Status]] | None = None
        self._quiet = Scan()

    def hint(self, event: Event, name: str) -> None:
        """Tell about an event on a file of the folder. Thread-safe; may come late or never."""
        if split_name(name):
            self._hints.append((name, event, self._clock()))

    def forget(self, stem: str | None = None) -> None:
        """Hand one plugin, or all of them, out again at the next scan."""
        for state in self._stems.values():
            if stem in (None, state.name):
                state.forget()
        self._seen = None

    def made_of(self, digests: Collection[str]) -> set[str]:
        """Return the plugins whose files, as they were handed out last, have such a digest."""
        return {s.name for s in self._stems.values() if s.identity and s.identity[1] in digests}

    def scan(self, *, initial: bool = False) -> Scan:
        """Look at the folder once.

        :param initial: at start-up: hand out at once what is whole, without letting it settle.
        """
        now = self._clock()
        try:
            listing = self._files.listing()
        except OSError as error:
            return self._folder_missing(error)
        statuses = {name: self._status(name) for name in listing.names if split_name(name)}
        if self._is_quiet(listing.identity, statuses, now):
            return self._quiet
        # A process that begins does not know when what it was forked with went; the folder does.
        quiet = max(0.0, self._wall() - listing.changed_at) if initial else 0.0
        self._folder_found(listing.identity, now - quiet)
        self._observe(statuses, now, now - quiet)
        candidates = [
            candidate
            for stem in self._due(now, initial)
            if (candidate := self._read(stem, now, initial)) is not None
        ]
        removed = self._removed(candidates, now)
        self._quiet = Scan(
            errors=self._errors(),
            present=self._present(),
            unsettled=self._unsettled(),
            pending_until=self._pending_until(now),
        )
        return replace(self._quiet, candidates=tuple(candidates), removed=removed)

    def _is_quiet(self, identity: tuple[int, int], statuses: dict[str, Status], now: float) -> bool:
        """Whether nothing happened since the last scan, which then holds unchanged."""
        same = (identity, statuses) == self._seen and not self._hints and not self._missing
        self._seen = identity, statuses
        pending = self._quiet.pending_until
        return same and (pending is None or now < pending)

    def _folder_missing(self, error: OSError) -> Scan:
        problem = unreadable(self.directory, error)
        if self._missing != str(problem):
            self._missing = str(problem)
            _log.warning("plugins folder %s; loaded plugins keep serving", problem)
        return Scan(errors=self._errors(), present=self._present(), folder_error=problem)

    def _folder_found(self, identity: tuple[int, int], now: float) -> None:
        if self._identity not in (None, identity):
            self._folder_since = now
        if self._missing is not None:
            _log.info("plugins folder %s is back", self.directory)
            self._missing = None
            self._folder_since = now
        self._identity = identity

    def _observe(self, statuses: dict[str, Status], now: float, gone_at: float) -> None:
        for name, event, at in _drain(self._hints):
            stem, file = self._file(name)
            file.hint(event, at)
            if event != "modified":
                stem.not_before = 0.0
        for name, status in statuses.items():
            self._file(name)[1].observe(status, now)
        for stem in list(self._stems.values()):
            for file in stem.files.values():
                if file.name not in statuses:
                    file.observe(Status(None), gone_at)
            if not stem.handed and all(f.seen is None for f in stem.files.values()):
                del self._stems[stem.name]

    def _file(self, name: str) -> tuple[StemState, FileState]:
        stem_name, suffix = split_name(name) or (name, "")
        stem = self._stems.get(stem_name)
        if stem is None:
            stem = self._stems[stem_name] = StemState(stem_name)
        file = stem.files.get(suffix)
        if file is None:
            file = stem.files[suffix] = FileState(name)
        return stem, file

    def _status(self, name: str) -> Status:
        status = self._files.status(name, self._limit_of(name))
        if not name.isprintable() and status.signature is not None:
            # Names end up in logs, on terminals and in other names.
            what = "its name is not printable UTF-8"
            problem = PluginFileError(printable(name), what, "rename the file")
            return Status(status.signature, problem)
        return status

    def _limit_of(self, name: str) -> int:
        if name.endswith(SIGNATURE_SUFFIX):
            return MAX_SIGNATURE_SIZE
        return MAX_MANIFEST_SIZE if name.endswith(MANIFEST_SUFFIX) else self._limit

    def _due(self, now: float, initial: bool) -> list[StemState]:
        """Choose the plugins to read now, by name; waits a little for others about to follow."""
        stems = sorted(self._stems.values(), key=lambda stem: stem.name)
        dues = [(stem, stem.due(self._timing, self._folder_since)) for stem in stems]
        if initial:
            return [stem for stem, due in dues if due is not None]
        horizon = now + self._timing.stable
        others = any(due is not None and now < due <= horizon and s.changed() for s, due in dues)
        ripe = now - self._timing.batch if others else now
        return [stem for stem, due in dues if due is not None and due <= ripe]

    def _read(self, stem: StemState, now: float, initial: bool) -> Candidate | None:
        modules = stem.modules()
        if not modules:
            return None  # see _removed
        manifest, signature = stem.files.get(MANIFEST_SUFFIX), stem.signature()
        files = modules + ([manifest] if manifest is not None and manifest.seen else [])
        files += [signature] if signature is not None else []
        confirming = not stem.changed()
        try:
            self._check(modules, files)
            contents = self._contents(files, now)
        except PluginFileError as error:
            stem.conclude(error, now + self._timing.stale)
            return None
        if contents is None:
            stem.postpone(self.directory / files[0].name, self._timing, now)
            return None
        signed = contents.pop() if signature is not None else None
        paths = [self.directory / file.name for file in files]
        candidate = Candidate.of(stem.name, paths, contents, signed)
        same = stem.identity == candidate.identity
        confirmed = confirming and same
        stem.conclude(None, None if confirmed else self._confirm_at(files, now, initial))
        stem.hand_out(candidate.identity)
        return None if same else candidate

    def _check(self, modules: list[FileState], files: list[FileState]) -> None:
        """Raise PluginFileError when a file is known to be unreadable or named twice."""
        if len(modules) > 1:
            path = self.directory / printable(modules[0].name)
            both = " and ".join(printable(module.name) for module in modules)
            raise PluginFileError(path, f"{both} are both there", "remove one of them")
        for file in files:
            if file.problem is not None:
                raise file.problem

    def _contents(self, files: list[FileState], now: float) -> list[bytes] | None:
        """Read module, manifest and signature; None when they are not whole now."""
        contents = []
        for file in files:
            proof = file.needs_proof(now, self._timing)
            whole = self._files.read(file.name, self._limit_of(file.name), proof)
            if whole is None:
                return None
            file.observe(Status(whole.signature), now)
            contents.append(whole.content)
        if not contents[0]:
            path = self.directory / files[0].name
            raise PluginFileError(path, "is empty", "put a WebAssembly module there")
        # With several files the first must still be what was read when the last was.
        first = self._files.status(files[0].name, self._limit)
        return contents if first.signature == files[0].seen else None

    def _confirm_at(self, files: list[FileState], now: float, initial: bool) -> float | None:
        # What was seen to change is fresh, whatever the clock of whoever stamped it says.
        stamps = (max(f.seen.mtime_ns, f.seen.ctime_ns) for f in files if f.seen is not None)
        fresh = not initial or self._wall() - max(stamps) / 1e9 < _FRESH
        return now + self._timing.confirm if fresh else None

    def _removed(self, candidates: list[Candidate], now: float) -> frozenset[str]:
        """Forget the deleted plugins whose wait is over, or whose module has a new name."""
        renamed = {self._stems[candidate.stem].inode for candidate in candidates}
        removed = set()
        for stem in list(self._stems.values()):
            if stem.modules() or not stem.handed:
                continue
            due = stem.due(self._timing, self._folder_since)
            if stem.inode in renamed or (due is not None and due <= now):
                removed.add(stem.name)
                del self._stems[stem.name]
        return frozenset(removed)

    def _errors(self) -> tuple[FolderError, ...]:
        return tuple(
            FolderError(printable(stem.name), stem.error.path, stem.error)
            for stem in sorted(self._stems.values(), key=lambda stem: stem.name)
            if stem.error is not None
        )

    def _present(self) -> frozenset[str]:
        return frozenset(
            printable(stem.name) for stem in self._stems.values() if stem.handed or stem.modules()
        )

    def _unsettled(self) -> frozenset[str]:
        stems = self._stems.values()
        return frozenset(
            printable(stem.name) for stem in stems if stem.modules() and stem.changed()
        )

    def _pending_until(self, now: float) -> float | None:
        """Return when the next plugin is due; one that is held back, when it is held no longer."""
        dues = [stem.due(self._timing, self._folder_since) for stem in self._stems.values()]
        held = self._timing.batch
        return min(
            (due if due > now else max(now, due + held) for due in dues if due is not None),
            default=None,
        )


def _drain(hints: deque[tuple[str, Event, float]]) -> Iterator[tuple[str, Event, float]]:
    while True:
        try:
            yield hints.popleft()
        except IndexError:
            return
