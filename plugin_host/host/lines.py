"""How versions are called in lines of the log."""

from __future__ import annotations

from ..serving.plugin import Plugin
from ..serving.registry import Canary


def which(plugin: Plugin) -> str:
    """Name a plugin, its version and its digest."""
    return f"plugin {plugin.name} {plugin.version} ({plugin.digest:.12})"


def came(old: Plugin | None, canary: Canary | None) -> str:
    """Say what became of a version that was loaded, given what served before it."""
    if old is None:
        return "loaded"
    before = f"{old.version} ({old.digest:.12})"
    if canary is None:
        return f"replaced {before}"
    return f"canary for {canary.rollout.share:.3g} of the requests beside {before},"
