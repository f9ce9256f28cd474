"""When a changed file may be read: the rules, per file and per plugin; no input or output."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from plugin_host.errors import PluginFileError, PluginLoadError
from plugin_host.folder.wholefile import Signature, Status

MODULE_SUFFIXES = (".wasm", ".wat")
MANIFEST_SUFFIX = ".toml"
SIGNATURE_SUFFIX = ".sig"
"""After the module's whole name: ``price.wasm.sig``."""
_SUFFIXES = (
    *MODULE_SUFFIXES,
    MANIFEST_SUFFIX,
    *(suffix + SIGNATURE_SUFFIX for suffix in MODULE_SUFFIXES),
)

_FORGOTTEN = Signature(-1, -1, -1, -1, -1)  # no file's, and not that of a file that is missing

Event = Literal["created", "modified", "closed", "moved"]


def split_name(name: str) -> tuple[str, str] | None:
    """Return stem and suffix of a file that belongs to a plugin; None for every other.

    Those are modules, manifests and signatures that are not hidden, temporary or nameless.
    """
    if name.endswith(_SUFFIXES) and not name.startswith((".", "~")):
        suffix = next(suffix for suffix in _SUFFIXES if name.endswith(suffix))
        return name[: -len(suffix)], suffix
    return None


@dataclass(frozen=True, slots=True)
class Timing:
    """How long to wait for what, in seconds (docs/rationale.md, "Why these waits")."""

    moved: float = 0.01
    """After a rename onto the name: the content is complete; this only gathers a batch."""
    settle: float = 0.05
    """After the writer closed the file, or a link to it appeared."""
    stable: float = 0.1
    """With an equal signature, when no event told how the content came."""
    stale: float = 5.0
    """After the last write of a file that nobody closes, where writers cannot be detected."""
    gone: float = 0.5
    """Until a missing file counts as deleted: many tools delete and then create."""
    new_folder: float = 2.0
    """The same, after the folder itself was replaced."""
    batch: float = 0.25
    """At most this long a readable file waits for others that are about to be readable."""
    confirm: float = 2.0
    """After reading a fresh file, until it is read once more: coarse time stamps hide a write."""
    patience: float = 10.0
    """Until a file that somebody holds open for writing is reported."""


@dataclass(slots=True)
class FileState:
    """What is known about one file name.

    ``since`` is when ``seen`` took its value, by the scanner's clock. ``event`` is the last event
    that can belong to ``seen``; None when only a scan noticed the change.
    """

    name: str
    seen: Signature | None = None
    since: float = 0.0
    problem: PluginFileError | None = None
    event: Event | None = None
    event_at: float = 0.0
    _event_used: bool = False

    def hint(self, event: Event, at: float) -> None:
        """Take note of an event, which the file's status may not show yet."""
        self.event, self.event_at, self._event_used = event, at, False

    def observe(self, status: Status, now: float) -> None:
        """Take note of what the file looks like now."""
        self.problem = status.problem
        if status.signature == self.seen:
            self._event_used = self.event is not None
            return
        if self._event_used:  # it belonged to an earlier content
            self.event = None
        self.seen, self.since = status.signature, now
        self._event_used = self.event is not None

    def due(self, timing: Timing, *, alone: bool) -> float:
        """Return when this changed file may be read, or count as deleted.

        :param alone: whether no other file of the plugin may be changing with it.
        """
        if self.seen is None:
            return self.since + timing.gone
        match self.event:
            case None:
                return self.since + timing.stable
            case "moved":
                return self.event_at + (timing.moved if alone else timing.settle)
            case "closed" | "created":
                return self.event_at + timing.settle
            case "modified":
                return max(self.since, self.event_at) + timing.stable

    def needs_proof(self, now: float, timing: Timing) -> bool:
        """Whether the writer may still be at work, so that only the platform's word counts."""
        return self.event == "modified" and now < self.event_at + timing.stale


@dataclass(slots=True)
class StemState:
    """One plugin's files, and what was concluded from them.

    ``known`` holds the signatures the last conclusion was drawn from; ``identity`` is what was
    handed out last, ``inode`` the module file it came from; at ``again_at`` an unchanged stem is
    read again; before ``not_before`` a changed one is not.
    """

    name: str
    files: dict[str, FileState] = field(default_factory=dict)
    known: dict[str, Signature | None] = field(default_factory=dict)
    handed: bool = False
    identity: tuple[Path, str, bytes | None] | None = None
    inode: tuple[int, int] | None = None
    error: PluginLoadError | None = None
    again_at: float | None = None
    not_before: float = 0.0
    blocked_since: float | None = None

    def changed(self) -> list[FileState]:
        return [f for suffix, f in self.files.items() if f.seen != self.known.get(suffix)]

    def modules(self) -> list[FileState]:
        states = (self.files.get(suffix) for suffix in MODULE_SUFFIXES)
        return [f for f in states if f is not None and f.seen is not None]

    def signature(self) -> FileState | None:
        """Return the signature of the one module, if it is there."""
        state = self.files.get(os.path.splitext(self.modules()[0].name)[1] + SIGNATURE_SUFFIX)
        return None if state is None or state.seen is None else state

    def due(self, timing: Timing, folder_since: float) -> float | None:
        """Return when the changes may be read; None when there is nothing to do."""
        modules = self.modules()
        if not modules and not self.handed:
            return None  # a manifest without a module is not a plugin (yet)
        changed = self.changed()
        if not changed:
            return self.again_at
        alone = len(self.files) == 1
        due = max(f.due(timing, alone=alone) for f in changed)
        if any(f.seen is None for f in changed):
            due = max(due, folder_since + timing.new_folder)
        return max(due, self.not_before)

    def forget(self) -> None:
        """Let everything count as changed, also what has gone, or is gone when it is looked for."""
        self.known = dict.fromkeys(self.files, _FORGOTTEN)
        self.identity = self.again_at = None

    def conclude(self, error: PluginLoadError | None, again_at: float | None) -> None:
        """Draw a conclusion from the files as they were seen; holds until one of them changes."""
        self.files = {suffix: f for suffix, f in self.files.items() if f.seen is not None}
        self.known = {suffix: f.seen for suffix, f in self.files.items()}
        self.error, self.again_at = error, again_at
        self.not_before, self.blocked_since = 0.0, None

    def hand_out(self, identity: tuple[Path, str, bytes | None]) -> None:
        """Remember what was handed out, and from which module file."""
        self.handed, self.identity = True, identity
        seen = self.modules()[0].seen
        self.inode = None if seen is None else (seen.dev, seen.ino)

    def postpone(self, path: Path, timing: Timing, now: float) -> None:
        """Try again later: the files are not whole. ``path`` is named once patience is over."""
        if self.blocked_since is None:
            self.blocked_since = now
        waited = now - self.blocked_since
        again = now + min(1.0, max(timing.settle, waited / 4))
        self.not_before = again
        if self.again_at is not None:
            self.again_at = again
        if waited >= timing.patience:
            self.error = PluginFileError(
                path, "is still being written, or kept open for writing", "close it"
            )
