"""What one look at the plugins folder found: the values `FolderScanner.scan` returns."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from plugin_host.errors import PluginFileError, PluginLoadError


@dataclass(frozen=True, slots=True)
class Candidate:
    """A plugin's files, whole, with content that was not handed out before.

    ``digest`` is the SHA-256 over module and manifest; ``module_digest`` is that of the module
    alone, as ``sha256sum`` prints it. ``signature`` is what the ``.sig`` beside them holds, unread.
    """

    stem: str
    module_path: Path
    module: bytes = field(repr=False)
    manifest_path: Path | None
    manifest: bytes | None = field(repr=False)
    module_digest: str
    digest: str
    signature: bytes | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls, stem: str, paths: list[Path], contents: list[bytes], signature: bytes | None = None
    ) -> Candidate:
        """Make one of the module's path and content, and the manifest's if there is one."""
        module_digest = digest = hashlib.sha256(contents[0]).hexdigest()
        manifest_path = manifest = None
        if len(contents) > 1:
            manifest_path, manifest = paths[1], contents[1]
            both = module_digest + hashlib.sha256(manifest).hexdigest()
            digest = hashlib.sha256(both.encode()).hexdigest()
        files = paths[0], contents[0], manifest_path, manifest
        return cls(stem, *files, module_digest, digest, signature)

    @property
    def identity(self) -> tuple[Path, str, bytes | None]:
        """What tells it from what was handed out before."""
        return self.module_path, self.digest, self.signature


@dataclass(frozen=True, slots=True)
class FolderError:
    """Why a plugin's files cannot be handed out now; what was handed out before stays good."""

    stem: str
    path: Path
    error: PluginLoadError


@dataclass(frozen=True, slots=True)
class Scan:
    """What one look at the folder found.

    ``candidates`` and ``removed`` are changes, told once (a renamed plugin is in both). ``errors``
    and ``present`` are the whole state: every stem that cannot be read now, and every stem that
    must not be unloaded; ``unsettled`` are those with changes that were not handed out yet, since
    the files are not known to be whole. ``pending_until`` is when to scan again without any event,
    by the scanner's clock. While ``folder_error`` is set the folder is missing or unreadable, and
    nothing changes.
    """

    candidates: tuple[Candidate, ...] = ()
    errors: tuple[FolderError, ...] = ()
    removed: frozenset[str] = frozenset()
    present: frozenset[str] = frozenset()
    unsettled: frozenset[str] = frozenset()
    pending_until: float | None = None
    folder_error: PluginFileError | None = None

    def seconds_left(self, now: float) -> float | None:
        """Return the seconds until ``pending_until``, at least 0."""
        return None if self.pending_until is None else max(0.0, self.pending_until - now)
