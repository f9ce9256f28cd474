"""Which version of a plugin is to serve: the folder's, unless something else was decided."""

from __future__ import annotations

from dataclasses import replace

from .. import trust
from ..config import Settings
from ..errors import PluginLoadError
from ..folder.scan import Candidate
from ..loading.loader import plugin_name
from ..machine.control import Control, Quarantine
from ..machine.depot import Depot
from ..machine.versions import StoredVersion
from ..serving.plugin import Plugin


def name_of(candidate: Candidate, settings: Settings) -> str:
    """Return the name that a file from the folder gives its plugin.

    :raises PluginLoadError: it cannot be read; or the file is text, which would have to be
        assembled for that, and is not signed although it should be.
    """
    if candidate.module_path.suffix == ".wat":
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
    return kept(candidate, name, wanted, depot, why)


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


def kept(candidate: Candidate, name: str, digest: str, depot: Depot | None, why: str) -> Candidate:
    """Return a kept version, under the stem of the files for which it stands.

    :param why: it is wanted, for the error.
    :raises PluginLoadError: it is not kept, or was another plugin's.
    """
    path = candidate.module_path
    found = depot.versions.get(digest, name) if depot else None
    if found is None:
        raise PluginLoadError(
            path,
            f"{why}, and the version {digest:.12} is not kept",
            "deploy that version's file, or lift the decision with flask plugins unpin or release",
        )
    path = path.with_suffix(found.module_path.suffix)
    found = replace(found, stem=candidate.stem, module_path=path)
    if plugin_name(found) != name:
        raise PluginLoadError(
            path, f"{why}, but {digest:.12} had its name from its file", "deploy a different file"
        )
    return found


def last_good(
    candidate: Candidate, name: str, control: Control, depot: Depot
) -> StoredVersion | None:
    """Return the version to serve when ``candidate`` is bad and nothing serves; None if none."""
    bad = {candidate.digest, *control.quarantined}
    return depot.versions.previous(name, candidate.digest, bad)


def decided(control: Control, name: str) -> tuple[object, ...]:
    """Return all that was decided of one plugin, for comparing."""
    bad = {d: q.replaced_by for d, q in control.quarantined.items() if q.name == name}
    return name in control.disabled, control.pins.get(name), bad


def is_made_of(plugin: Plugin, candidate: Candidate) -> bool:
    """Whether a plugin was loaded from these very files."""
    return plugin.digest == candidate.digest and plugin.path == candidate.module_path
