"""Which version of a plugin is to serve: the folder's, unless something else was decided."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from .. import trust
from ..config import Settings
from ..errors import LoadDelayed, PluginLoadError
from ..folder.scan import Candidate
from ..hostfunctions.services import Services
from ..loading.loader import load, plugin_name
from ..machine.control import Control, Quarantine
from ..machine.depot import Depot
from ..machine.versions import StoredVersion
from ..serving.plugin import Plugin

logger = logging.getLogger("plugin_host")


def name_of(candidate: Candidate, settings: Settings) -> str:
    """Return the name that a file from the folder gives its plugin.

    :raises PluginLoadError: it cannot be read, or is not signed although it should be: then
        nothing that it says counts, or it could have what was decided of another name.
    """
    trust.check(candidate, settings)
    return plugin_name(candidate)


def choose(candidate: Candidate, name: str, control: Control, depot: Depot | None) -> Candidate:
    """Return the version that is to serve where ``candidate`` lies in the folder.

    :raises PluginLoadError: what was decided cannot be followed.
    """
    why = why_not(candidate, name, control)
    if why is None:
        return candidate
    wanted = control.pins.get(name)
    if wanted is None:
        bad = control.quarantined[candidate.digest]
        wanted = _since(bad, name, control, depot) or bad.replaced_by
    if wanted is None:
        raise PluginLoadError(candidate.module_path, why, "deploy a different file")
    return kept(candidate.module_path, name, wanted, depot, why)


def why_not(candidate: Candidate, name: str, control: Control) -> str | None:
    """Say what was decided against these files; None: nothing."""
    pin, bad = control.pins.get(name), control.quarantined.get(candidate.digest)
    if pin is not None and pin != candidate.digest:
        return f"is pinned to {pin:.12}"
    return f"{candidate.digest:.12} is quarantined ({bad.reason})" if bad else None


def _since(bad: Quarantine, name: str, control: Control, depot: Depot | None) -> str | None:
    """Return the latest version that came after a quarantine, and was good.

    Whoever puts the bad file back by mistake must not undo what was deployed since.
    """
    later = [v for v in (depot.versions.history(name) if depot else ()) if v.stored_at > bad.at]
    return next((v.digest for v in later if v.digest not in control.quarantined), None)


def forbidden(digest: str, name: str, control: Control) -> bool:
    """Whether it was decided that a version does not serve."""
    return digest in control.quarantined or control.pins.get(name, digest) != digest


def kept(path: Path, name: str, digest: str, depot: Depot | None, why: str) -> Candidate:
    """Return a kept version, as if it lay where the module does for which it stands.

    :param why: it is wanted, for the error.
    :raises PluginLoadError: it is not kept, or was another plugin's.
    """
    found = depot.versions.get(digest, name) if depot else None
    if found is None:
        raise PluginLoadError(
            path,
            f"{why}, and the version {digest:.12} is not kept",
            "deploy that version's file, or lift the decision with flask plugins unpin or release",
        )
    path = path.with_suffix(found.module_path.suffix)
    found = replace(found, stem=path.stem, module_path=path)
    if plugin_name(found) != name:
        raise PluginLoadError(
            path, f"{why}, but {digest:.12} had its name from its file", "deploy a different file"
        )
    return found


def last_good(
    path: Path,
    name: str,
    plugin: Plugin | None,
    bad: str | None,
    control: Control,
    depot: Depot,
) -> StoredVersion | None:
    """Return the version to serve where a plugin's files cannot; None: what serves, if anything.

    What was decided last, or what has been proven good since, in any worker.

    :param path: the module's; what other files gave that name comes last.
    :param plugin: what serves.
    :param bad: the digest of the files, if they could be read.
    """
    good = [v for v in depot.versions.history(name) if v.digest not in {bad, *control.quarantined}]
    good.sort(key=lambda version: Path(version.file).stem != path.stem)
    last = _latest(name, good, control)
    if last is None or plugin is None:
        return last
    must_go = forbidden(plugin.digest, name, control)
    # One that is kept, but neither the latest nor decided for, served by a decision of before.
    is_left = any(version.digest == plugin.digest for version in good)
    is_older = last.digest != plugin.digest and (is_left or last.stored_at > plugin.loaded_at)
    return last if must_go or is_older else None


def _latest(name: str, good: list[StoredVersion], control: Control) -> StoredVersion | None:
    """Return the version that was decided for, or that has been proven good since."""
    pin = control.pins.get(name)
    entries = (entry for entry in control.quarantined.values() if entry.name == name)
    last = max(entries, key=lambda entry: entry.at, default=None)
    wanted = pin or (last.replaced_by if last else None)
    chosen = next((version for version in good if version.digest == wanted), None)
    if pin or not good:
        return chosen
    return chosen if chosen and last and good[0].stored_at <= last.at else good[0]


def decided(control: Control, name: str) -> tuple[object, ...]:
    """Return all that was decided of one plugin, for comparing."""
    bad = {d: q.replaced_by for d, q in control.quarantined.items() if q.name == name}
    return name in control.disabled, control.pins.get(name), bad


def is_made_of(plugin: Plugin, candidate: Candidate) -> bool:
    """Whether a plugin was loaded from these very files."""
    return plugin.digest == candidate.digest and plugin.path == candidate.module_path


def load_version(
    chosen: Candidate,
    settings: Settings,
    depot: Depot | None,
    background: bool,
    services: Callable[[str, Settings], Services],
) -> Plugin:
    """Load a version.

    :raises PluginLoadError: whatever went wrong.
    """
    try:
        return load(chosen, settings, depot.cache if depot else None, background, services)
    except PluginLoadError:
        raise
    except (OSError, MemoryError) as exc:
        raise LoadDelayed(chosen.module_path, f"is to be loaded again: {exc!r}") from exc
    except Exception as exc:
        logger.exception("%s: cannot be loaded", chosen.module_path.name)
        reason = f"cannot be loaded: {type(exc).__name__}: {exc}"
        raise PluginLoadError(chosen.module_path, reason) from exc
