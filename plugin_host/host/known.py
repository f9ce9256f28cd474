"""Which plugins there are, whether they load or not: the names that an operator may give."""

from __future__ import annotations

from collections.abc import Iterable

from ..config import did_you_mean
from ..errors import PluginHostError, PluginLoadError
from ..folder.scanner import FolderScanner
from ..folder.wholefile import PluginFolder
from .host import Host
from .selection import name_of


class OperationError(PluginHostError):
    """What an operator asked for cannot be done; names the plugin and the remedy."""


def files_of(host: Host) -> dict[str, str]:
    """Return the digests of the files in the folder, by their plugins' names."""
    settings = host.settings
    files, limit = PluginFolder.of(settings), settings.max_module_size
    scan = FolderScanner(settings.dir, max_module_size=limit, files=files).scan(initial=True)
    found: dict[str, str] = {}
    for candidate in scan.candidates:
        try:
            name = name_of(candidate, settings)
        except PluginLoadError:
            name = candidate.stem.lower()
        found.setdefault(name, candidate.digest)
    return found


def names_of(host: Host) -> set[str]:
    """Return the names of all plugins that there are, whether they load or not."""
    here = {plugin["name"] for plugin in host.status()["plugins"]}
    return here | files_of(host).keys()


def check_known(name: str, names: Iterable[str]) -> None:
    """Raise OperationError, with the name that was probably meant, if this is none of them."""
    known = sorted(names)
    if name not in known:
        hint = did_you_mean(name, known) or "known: " + (", ".join(known) or "none")
        raise OperationError(f"there is no plugin {name!a}; {hint}")
