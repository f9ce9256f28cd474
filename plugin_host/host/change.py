"""What a swap changed."""

from __future__ import annotations

from dataclasses import dataclass

from ..serving.plugin import Plugin


@dataclass(frozen=True, slots=True)
class Change:
    """One plugin's change at a swap; digests are None where nothing served or serves."""

    name: str
    old: str | None
    new: str | None


def changes_of(before: dict[str, Plugin], after: dict[str, Plugin]) -> tuple[Change, ...]:
    """Return what differs between two line-ups, each by stem."""
    old = {plugin.name: plugin.digest for plugin in before.values()}
    new = {plugin.name: plugin.digest for plugin in after.values()}
    return tuple(
        Change(name, old.get(name), new.get(name))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    )
