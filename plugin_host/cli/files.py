"""Reading plugins' files the way the host does: whole, within the limits, by the same rules."""

from __future__ import annotations

import os
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

from ..config import Settings
from ..errors import PluginFileError, PluginLoadError
from ..folder.scan import Candidate, Scan
from ..folder.scanner import FolderScanner
from ..folder.settling import MANIFEST_SUFFIX, MODULE_SUFFIXES, SIGNATURE_SUFFIX
from ..folder.wholefile import Listing, PluginFolder
from .options import Failure


@dataclass(frozen=True)
class Unread:
    """A plugin whose files cannot be read."""

    path: Path
    error: PluginLoadError


class _SomeFiles(PluginFolder):
    """A folder of which only some files are seen."""

    def __init__(self, path: Path, names: Container[str]) -> None:
        super().__init__(path)  # a file that somebody names may be anywhere
        self._names = names

    def listing(self) -> Listing:
        listing = super().listing()
        return listing._replace(names=[name for name in listing.names if name in self._names])


def read_file(path: Path, settings: Settings) -> Candidate:
    """Return a module, with the manifest beside it if there is one.

    :raises PluginFileError: missing, not a plugin's file, unreadable, empty, or too large.
    """
    _check_name(path)
    names = {path.name, path.stem + MANIFEST_SUFFIX, path.name + SIGNATURE_SUFFIX}
    scan = _scan(path.parent, settings, _SomeFiles(path.parent, names))
    if scan.candidates:
        return scan.candidates[0]
    for problem in scan.errors:
        raise problem.error
    raise _unfinished(path)


def read_folder(settings: Settings) -> list[Candidate | Unread]:
    """Return every plugin of the folder, by file name.

    :raises Failure: the folder is missing or unreadable.
    """
    folder = settings.dir
    check_folder(folder)
    scan = _scan(folder, settings, PluginFolder.of(settings))
    found: dict[str, Candidate | Unread] = {c.stem: c for c in scan.candidates}
    found.update({e.stem: Unread(e.error.path, e.error) for e in scan.errors})
    for stem in scan.present - found.keys():
        path = next(iter(_modules(folder, stem)), folder / stem)
        found[stem] = Unread(path, _unfinished(path))
    return [found[stem] for stem in sorted(found)]


def check_folder(folder: Path) -> None:
    """Make sure that there is a folder to look at.

    :raises Failure: it is missing, unreadable, or something else.
    """
    try:
        os.scandir(folder).close()
    except OSError as exc:
        raise Failure(f"plugins folder {folder}: {exc.strerror}; name another with --dir") from exc


def orphans(folder: Path) -> list[Path]:
    """Return the manifests of the folder that belong to no module."""
    manifests = sorted(folder.glob(f"[!.~]*{MANIFEST_SUFFIX}"))
    return [path for path in manifests if not _modules(folder, path.stem)]


def _modules(folder: Path, stem: str) -> list[Path]:
    return [p for suffix in MODULE_SUFFIXES if os.path.lexists(p := folder / (stem + suffix))]


def _scan(folder: Path, settings: Settings, files: PluginFolder) -> Scan:
    scanner = FolderScanner(folder, max_module_size=settings.max_module_size, files=files)
    scan = scanner.scan(initial=True)
    if scan.folder_error is not None:
        raise scan.folder_error
    return scan


def _unfinished(path: Path) -> PluginFileError:
    return PluginFileError(
        path, "is being written, or changed while it was read", "wait until it is whole"
    )


def _check_name(path: Path) -> None:
    """Say what the scanner, which passes over whatever is no plugin, would not say."""
    if not os.path.lexists(path):
        raise PluginFileError(path, "does not exist", "name a .wasm or .wat file")
    if os.path.isdir(path):  # where its own cannot be told, reading it says so
        raise PluginFileError(path, "is a folder", "name a .wasm or .wat file in it")
    if path.suffix == MANIFEST_SUFFIX:
        raise PluginFileError(path, "is a manifest", "name the module that it belongs to")
    if path.suffix not in MODULE_SUFFIXES or path.name.startswith((".", "~")):
        raise PluginFileError(
            path,
            "does not have the name of a plugin's file",
            "call it NAME.wasm or NAME.wat, where NAME starts with neither '.' nor '~'",
        )
