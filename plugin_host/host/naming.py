"""One plugin per name, also while files exchange the names that their manifests give."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..errors import PluginLoadError
from ..folder.scan import Candidate
from ..serving.plugin import Plugin
from .status import Refusal


class NameTaken(PluginLoadError):
    """Another file's plugin has the same name."""

    def __init__(self, path: Path, name: str, other: str) -> None:
        self.name = name
        super().__init__(
            path,
            f"its name {name!r} is that of the plugin from {other}",
            "rename one of them in its manifest, or remove one of the files",
        )


class Waiting(NameTaken):
    """A plugin that loads has a name that another has now, and perhaps not for long."""

    def __init__(self, candidate: Candidate, plugin: Plugin, other: Plugin) -> None:
        self.candidate, self.plugin = candidate, plugin
        super().__init__(plugin.path, plugin.name, other.path.name)


def holder_of(name: str, serving: Mapping[str, Plugin]) -> str | None:
    """Return the stem whose plugin has a name."""
    return next((stem for stem, plugin in serving.items() if plugin.name == name), None)


def gives_way(holder: str, comer: str, name: str) -> bool:
    """Whether a plugin loses its name to another: to the one whose file is called so.

    Grants go by names, and which file was found first must not decide who gets them.
    """
    return comer.lower() == name != holder.lower()


def exchange(
    taken: Waiting, serving: Mapping[str, Plugin], refused: Mapping[str, Refusal]
) -> list[Waiting]:
    """Return whose names become free for each other if they all move at once, this one first.

    Nothing if somebody who stays has one of the names.
    """
    moves: dict[str, Waiting] = {}
    step: PluginLoadError | None = taken
    while isinstance(step, Waiting) and step.candidate.stem not in moves:
        moves[step.candidate.stem] = step
        holder = holder_of(step.name, serving)
        if holder is None or holder == taken.candidate.stem:
            return [*moves.values()]
        step = refused[holder].error if holder in refused else None
    return []


def freed(serving: Mapping[str, Plugin], refused: Mapping[str, Refusal]) -> list[str]:
    """Return the stems that were refused for a name that nobody has any more."""
    names = {plugin.name for plugin in serving.values()}
    return [
        stem
        for stem, refusal in refused.items()
        if isinstance(refusal.error, NameTaken) and refusal.error.name not in names
    ]
