"""What operators and automatic rollbacks decided: one small file that every worker follows.

`Control` is a value; the functions here return a changed one. `ControlFile` reads it cheaply and
changes it under a lock: ``file.update(lambda control: disable(control, "pricing"))``.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Final

import msgspec

from plugin_host.config import did_you_mean
from plugin_host.errors import PluginHostError
from plugin_host.manifest.document import NAME_ALLOWED, NAME_PATTERN

from .datadir import DataDir, DataDirError, read, unusable

EVERY: Final = "*"
"""Stands for all plugins, in `request_reload`."""
#: The log of every change: who, and what.
audit_log = logging.getLogger("plugin_host.audit")
_log = logging.getLogger("plugin_host")

_FORMAT: Final = 1
_MAX_SIZE: Final = 4 * 1024 * 1024
#: Digests that stay quarantined; a plugin that is redeployed every minute must not fill the file.
MAX_QUARANTINED: Final = 500
_MAX_REASON: Final = 500
_DIGEST: Final = r"^[0-9a-f]{64}\Z"
#: A file that changed so recently could change again without a new time stamp.
_RACY: Final = 2.0
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
    """A rollout that has begun: of which digest, beside which, at which Unix time."""

    digest: str
    before: str
    since: float


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


class _Document(msgspec.Struct, frozen=True):
    control: Control
    format: Annotated[int, msgspec.Meta(ge=_FORMAT, le=_FORMAT)]


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


class ControlFile:
    """The file ``control.json`` of a data directory."""

    def __init__(self, datadir: DataDir) -> None:
        self.path = datadir.path / "control.json"
        self._datadir = datadir
        #: The last good value and the signature of its file, if that can be relied on; replaced
        #: as a whole. None: no good file, nor its absence, was seen yet.
        self._good: tuple[tuple[int, ...] | None, Control] | None = None
        self._complaint: str | None = None

    def read(self) -> Control:
        """Return what holds now; one ``stat`` when nothing has changed.

        Never raises: while the file cannot be understood, the last good value holds, and one
        log line says so.
        """
        signature, control = self._good or (None, Control())
        try:
            if signature is not None and signature == _signature(os.lstat(self.path)):
                return control
            return self._load()
        except (OSError, msgspec.DecodeError, RecursionError) as error:
            self._complain(error)
            return control

    def update(self, change: Callable[[Control], Control], by: str = "") -> Control:
        """Apply a change to what holds, for all workers, durably; return what holds then.

        Nothing is written, and the generation stays, if the change changes nothing.

        :param by: what decided it, for the audit log; the user and process are always named.
        :raises DataDirError: the lock or the file cannot be had, or the file was written by a newer
            version; nothing is changed then.
        """
        with self._datadir.lock("control"):
            old = self._load_or_mend()
            new = msgspec.structs.replace(change(old), generation=old.generation)
            if new == old:
                return old
            new = msgspec.structs.replace(new, generation=old.generation + 1)
            try:
                if self._complaint is not None:
                    os.replace(self.path, self.path.with_suffix(".corrupt"))
                self._datadir.write(self.path, [_encode(new)], durable=True)
            except OSError as error:
                raise unusable(self.path, "written", error) from error
            self._good, self._complaint = (None, new), None
        what = "; ".join(describe(old, new))
        audit_log.info("%s: %s (generation %d)", _actor(by), what, new.generation)
        return new

    def _load(self) -> Control:
        """Read the file and remember it."""
        try:
            status, content = read(self.path, _MAX_SIZE)
        except FileNotFoundError:
            self._good, self._complaint = (None, Control()), None
            return Control()
        control = msgspec.json.decode(content, type=_Document).control
        settled = abs(time.time() - status.st_mtime) > _RACY
        self._good, self._complaint = (_signature(status) if settled else None, control), None
        return control

    def _load_or_mend(self) -> Control:
        """Read the file, or remember what it held, and complain, if it is garbage now."""
        try:
            return self._load()
        except OSError as error:
            raise unusable(self.path, "read", error) from error
        except (msgspec.DecodeError, RecursionError) as error:
            # What is JSON may be a newer version's, or an operator's slip: not ours to discard.
            if self._good is None or isinstance(error, msgspec.ValidationError):
                raise DataDirError(
                    self.path, f"cannot be understood: {error}", "correct it, or remove it"
                ) from error
            self._complain(error)
            return self._good[1]

    def _complain(self, error: Exception) -> None:
        text = f"{self.path} cannot be used ({type(error).__name__}: {error})"
        if text != self._complaint:  # once, not at every look
            _log.error("%s; what held before keeps holding; correct or remove it", text)
        self._complaint = text


def _encode(control: Control) -> bytes:
    document = _Document(control, _FORMAT)
    return msgspec.json.format(msgspec.json.encode(document, order="deterministic"))


def _signature(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _actor(by: str) -> str:
    """Name the user behind this process, also through sudo, for the audit log."""
    uid = os.getuid() if hasattr(os, "getuid") else -1
    try:
        import pwd

        user = f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except (ImportError, KeyError):  # Windows; a container's user without a name
        user = f"uid {uid}" if uid >= 0 else os.environ.get("USERNAME", "unknown user")
    if uid == 0 and os.environ.get("SUDO_USER"):
        user += f", sudo by {os.environ['SUDO_USER']!a}"
    return f"{user}, pid {os.getpid()}" + (f", {by}" if by else "")
