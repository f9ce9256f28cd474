"""What operators and automatic rollbacks decided: a value, and functions that return a changed one.

`plugin_host.machine.controlfile` keeps it for all workers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Annotated, Final

import msgspec

from plugin_host.config import did_you_mean
from plugin_host.errors import PluginHostError
from plugin_host.manifest.document import NAME_ALLOWED, NAME_PATTERN

from .moment import Moment

EVERY: Final = "*"
"""Stands for all plugins, in `request_reload`."""
#: Digests that stay quarantined; a plugin that is redeployed every minute must not fill the file.
MAX_QUARANTINED: Final = 500
_MAX_REASON: Final = 500
_DIGEST: Final = r"^[0-9a-f]{64}\Z"
_Count = Annotated[int, msgspec.Meta(ge=0)]
_Digest = Annotated[str, msgspec.Meta(pattern=_DIGEST)]


class ControlError(PluginHostError):
    """A change to what workers follow makes no sense; names the plugin and the remedy."""


class Quarantine(msgspec.Struct, frozen=True):
    """Why a digest must not serve.

    ``at`` is a Unix time; ``replaced_by`` is the digest that serves instead, if any.
    """

    reason: str
    at: float
    name: str
    version: str
    replaced_by: str | None = None


class RolloutState(msgspec.Struct, frozen=True):
    """A rollout that has begun: of which digest, beside which, at which Unix time and moment."""

    digest: str
    before: str
    since: float
    moment: Moment | None = None


class Control(msgspec.Struct, frozen=True):
    """What all workers follow.

    ``generation`` differs whenever anything else does; ``disabled`` are plugins' names; ``pins``
    maps a name to the one digest that may serve; ``quarantined`` are digests; ``reloads`` counts,
    by name or `EVERY`, how often to load again what has not changed; ``rollouts`` are the latest
    begun, by name. A digest is never pinned
    and quarantined at once.
    """

    generation: _Count = 0
    disabled: frozenset[str] = frozenset()
    pins: Mapping[str, _Digest] = {}
    quarantined: Mapping[_Digest, Quarantine] = {}
    reloads: Mapping[str, _Count] = {}
    rollouts: Mapping[str, RolloutState] = {}

    def reloads_of(self, name: str) -> int:
        """Return a number that differs when this plugin is to be loaded again."""
        return self.reloads.get(name, 0) + self.reloads.get(EVERY, 0)

    def decided_at(self, name: str) -> float:
        """Return when a version of this plugin was last replaced by decision; 0: none was."""
        return max((bad.at for bad in self.quarantined.values() if bad.name == name), default=0.0)


_Known = Collection[str] | None


def disable(control: Control, name: str, known: _Known = None) -> Control:
    """Let a plugin serve nowhere. ``known``: the names that exist, if that is known.

    :raises ControlError: no plugin has that name; the same holds for the functions below.
    """
    _check_name(name, known)
    return msgspec.structs.replace(control, disabled=control.disabled | {name})


def enable(control: Control, name: str, known: _Known = None) -> Control:
    """Let a disabled plugin serve again; its file may be gone meanwhile."""
    _check_name(name, None if known is None else {*known, *control.disabled})
    return msgspec.structs.replace(control, disabled=control.disabled - {name})


def pin(control: Control, name: str, digest: str, known: _Known = None) -> Control:
    """Let only this digest of a plugin serve, whatever file comes.

    :raises ControlError: also if the digest is quarantined.
    """
    _check_name(name, known)
    _check_digest(digest)
    bad = control.quarantined.get(digest)
    if bad is not None:
        raise ControlError(
            f"{name} {bad.version} ({digest:.12}) is quarantined: {bad.reason}; release it first"
        )
    return msgspec.structs.replace(control, pins={**control.pins, name: digest})


def unpin(control: Control, name: str, known: _Known = None) -> Control:
    """Let the plugin's file decide again."""
    _check_name(name, None if known is None else {*known, *control.pins})
    pins = {other: digest for other, digest in control.pins.items() if other != name}
    return msgspec.structs.replace(control, pins=pins)


def quarantine(control: Control, digest: str, entry: Quarantine) -> Control:
    """Let a digest serve nowhere; if it is quarantined already, the first reason stays.

    :raises ControlError: an operator pinned it.
    """
    _check_name(entry.name, None)
    _check_digest(digest)
    if digest in control.pins.values():
        raise ControlError(f"{entry.name} {digest:.12} is pinned; unpin it first")
    if digest in control.quarantined:
        return control
    reason = entry.reason[:_MAX_REASON].encode(errors="replace").decode()  # it may name any file
    entries = {**control.quarantined, digest: msgspec.structs.replace(entry, reason=reason)}
    newest = sorted(entries, key=lambda each: entries[each].at)[-MAX_QUARANTINED:]
    return msgspec.structs.replace(control, quarantined={each: entries[each] for each in newest})


def release(control: Control, digest: str) -> Control:
    """Let a quarantined digest serve again.

    :raises ControlError: it is not quarantined.
    """
    if digest not in control.quarantined:
        there = ", ".join(f"{d:.12} ({q.name})" for d, q in control.quarantined.items())
        raise ControlError(f"{digest:.12} is not quarantined; quarantined: {there or 'none'}")
    left = {other: entry for other, entry in control.quarantined.items() if other != digest}
    return msgspec.structs.replace(control, quarantined=left)


def begin_rollout(control: Control, name: str, state: RolloutState) -> Control:
    """Note when a digest's rollout began; if it has begun already, that stays."""
    known = control.rollouts.get(name)
    if known is not None and known.digest == state.digest:
        return control
    return msgspec.structs.replace(control, rollouts={**control.rollouts, name: state})


def end_rollout(control: Control, name: str, digest: str) -> Control:
    """Note that a digest's rollout was broken off, if it is the latest: it may begin anew."""
    known = control.rollouts.get(name)
    if known is None or known.digest != digest:
        return control
    left = {other: state for other, state in control.rollouts.items() if other != name}
    return msgspec.structs.replace(control, rollouts=left)


def request_reload(control: Control, name: str = EVERY, known: _Known = None) -> Control:
    """Let every running worker load a plugin, or all of them, again."""
    if name != EVERY:
        _check_name(name, known)
    count = control.reloads.get(name, 0) + 1
    return msgspec.structs.replace(control, reloads={**control.reloads, name: count})


def describe(old: Control, new: Control) -> list[str]:
    """Say what differs between two values, one phrase each, in a fixed order."""
    pins = new.pins
    fresh = {d: bad for d, bad in new.quarantined.items() if d not in old.quarantined}
    return [
        *(f"disabled {name}" for name in sorted(new.disabled - old.disabled)),
        *(f"enabled {name}" for name in sorted(old.disabled - new.disabled)),
        *(f"pinned {n} to {pins[n]:.12}" for n in sorted(pins) if old.pins.get(n) != pins[n]),
        *(f"unpinned {name}" for name in sorted(old.pins.keys() - pins.keys())),
        *(f"quarantined {q.name} {q.version!a} ({d:.12}): {q.reason!a}" for d, q in fresh.items()),
        *(
            f"began the rollout of {n} {r.digest:.12}"
            for n, r in sorted(new.rollouts.items())
            if old.rollouts.get(n) != r
        ),
        *(f"broke off the rollout of {n}" for n in sorted(old.rollouts.keys() - new.rollouts)),
        *(f"released {d:.12}" for d in sorted(old.quarantined.keys() - new.quarantined.keys())),
        *(
            "requested a reload of " + ("every plugin" if n == EVERY else n)
            for n in sorted(new.reloads)
            if old.reloads.get(n) != new.reloads[n]
        ),
    ]


def _check_name(name: str, known: _Known) -> None:
    if not re.match(NAME_PATTERN, name):
        raise ControlError(f"{name!a} cannot be a plugin's name; allowed: {NAME_ALLOWED}")
    if known is not None and name not in known:
        hint = did_you_mean(name, known) or "known: " + (", ".join(sorted(known)) or "none")
        raise ControlError(f"there is no plugin {name}; {hint}")


def _check_digest(digest: str) -> None:
    if not re.match(_DIGEST, digest):
        raise ControlError(f"{digest!a} is not a digest; give all 64 hexadecimal digits of it")
