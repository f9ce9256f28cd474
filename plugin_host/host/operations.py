"""What operators can decide about plugins: which digest, which target, and whether it makes sense.

Plain functions over an app's host; each checks all that it can before it changes anything, changes
the control file in one step, and returns a `Decision`, which also says when a worker has followed.
``by`` says who decided, for the audit log and as the reason of a quarantine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import msgspec

from ..errors import PluginLoadError
from ..loading.loader import load
from ..machine import control as decide
from ..machine.control import Control, Quarantine
from ..machine.decision import Decision
from ..machine.depot import Depot
from ..machine.versions import StoredVersion, resolve
from ..wasm.runtime import rest
from .host import Host
from .known import OperationError, check_known, files_of, names_of


@dataclass(frozen=True, slots=True)
class KeptVersion:
    """A kept version, and what is known of it; ``quarantined`` is the reason, if it is."""

    stored: StoredVersion
    serving: bool
    pinned: bool
    quarantined: str | None


def the_depot(host: Host) -> Depot:
    """Return what the host shares with the machine's other workers.

    :raises OperationError: there is nothing: the configuration says so.
    :raises DataDirError: the data directory cannot be used.
    """
    if host.depot is not None:
        return host.depot
    if not host.settings.enabled:
        raise OperationError(
            "PLUGIN_HOST_ENABLED is false: the app loads no plugins; there is nothing to decide"
        )
    if host.settings.data_dir is None:
        raise OperationError(
            "the app has no data directory, through which workers learn of decisions; set"
            " PLUGIN_HOST_DATA_DIR"
        )
    return Depot(host.settings.data_dir, host.settings)  # says what is wrong with it


def reload(host: Host, by: str, name: str | None = None) -> Decision:
    """Have every running worker load a plugin, or all of them, again.

    :raises PluginHostError: no plugin has that name, or the data directory cannot be used; the
        same holds for the functions below.
    """
    names = names_of(host)
    each = decide.EVERY if name is None else name
    text = f"{'every plugin' if name is None else name} is loaded again"
    return _change(host, name, text, by, lambda c: decide.request_reload(c, each, names))


def disable(host: Host, name: str, by: str) -> Decision:
    """Let a plugin serve nowhere, until it is enabled."""
    names = names_of(host)
    return _change(host, name, f"{name} is disabled", by, lambda c: decide.disable(c, name, names))


def enable(host: Host, name: str, by: str) -> Decision:
    """Let a disabled plugin serve again."""
    names = names_of(host)
    return _change(host, name, f"{name} is enabled", by, lambda c: decide.enable(c, name, names))


def pin(host: Host, name: str, prefix: str, by: str) -> Decision:
    """Let only one kept version serve, whatever file comes.

    :param prefix: how its digest begins.
    """
    depot = the_depot(host)
    digest = depot.versions.find(name, prefix).digest
    _check_released(depot.control.read(), name, digest)
    _prove(host, depot, name, digest)
    text = f"{name} is pinned to {digest:.12}"
    return _change(host, name, text, by, lambda c: decide.pin(c, name, digest), digest)


def unpin(host: Host, name: str, by: str) -> Decision:
    """Let the plugin's file decide again."""
    names = names_of(host)
    return _change(host, name, f"{name} is not pinned", by, lambda c: decide.unpin(c, name, names))


def release(host: Host, prefix: str, by: str) -> Decision:
    """Let a quarantined digest serve again.

    :param prefix: how it begins.
    """
    depot = the_depot(host)
    quarantined = depot.control.read().quarantined
    if not quarantined:
        raise OperationError("nothing is quarantined; there is nothing to release")
    digest = resolve(prefix, quarantined, "quarantined digest")
    name = quarantined[digest].name
    text = f"{name} {digest:.12} is not quarantined"
    return _change(host, name, text, by, lambda c: decide.release(c, digest))


def rollback(host: Host, name: str, by: str, to: str | None = None) -> Decision:
    """Quarantine what a plugin's current file makes serve; an earlier version takes its place.

    A different file that is deployed later serves normally.

    :param to: how the digest of the version begins that is to serve; None is the one that served
        before.
    :raises OperationError: also if the plugin is pinned, or nothing is kept to go back to.
    """
    depot = the_depot(host)
    control = depot.control.read()
    _check_unpinned(control, name)
    rejected, default = _current(host, depot, name, control)
    target = default if to is None else depot.versions.find(name, to).digest
    if target is None:
        raise OperationError(
            f"no earlier version of {name} is kept; deploy the earlier file instead, or see"
            f" flask plugins history {name}"
        )
    _check_released(control, name, target)
    if target in rejected:
        raise OperationError(
            f"{name} {target:.12} is what is to be left; choose another version of"
            f" flask plugins history {name}"
        )
    _prove(host, depot, name, target)
    stored = depot.versions.history(name)
    versions = {kept.digest: kept.version for kept in stored}
    # After all that is kept, also when the clock has stepped back: what is later goes before it.
    now = max([time.time(), *(kept.stored_at for kept in stored)])
    reason = f"rolled back by {by}"

    def change(control: Control) -> Control:
        _check_unpinned(control, name)
        entries = {
            digest: Quarantine(reason, now, name, versions.get(digest, "unknown"))
            for digest in rejected
        }
        return _replaced(control, name, entries, target, now)

    text = f"{name} is rolled back to {versions.get(target, '')} ({target:.12})"
    return _change(host, name, text, by, change, target)


def history(host: Host, name: str, serving: Collection[str] | None = None) -> list[KeptVersion]:
    """Return the kept versions of a plugin, newest first.

    :param serving: the digests that serve; None asks the running workers, or with none of them
        this host.
    :raises OperationError: no version of such a plugin is kept, and it is not in the folder.
    """
    depot = the_depot(host)
    kept, control = depot.versions.history(name), depot.control.read()
    if not kept:
        check_known(name, names_of(host))
    if serving is None:
        states = [worker.status for worker in depot.workers()] or [host.status()]
        serving = {
            plugin.get("digest")
            for state in states
            for plugin in state.get("plugins", ())
            if plugin.get("state") in ("serving", "canary")
        }
    pinned = control.pins.get(name)
    return [
        KeptVersion(
            stored,
            stored.digest in serving,
            stored.digest == pinned,
            bad.reason if (bad := control.quarantined.get(stored.digest)) else None,
        )
        for stored in kept
    ]


def _change(
    host: Host,
    name: str | None,
    text: str,
    by: str,
    change: Callable[[Control], Control],
    expected: str | None = None,
) -> Decision:
    before = 0

    def noting(control: Control) -> Control:
        nonlocal before
        before = control.generation
        return change(control)

    after = the_depot(host).control.update(noting, by).generation
    return Decision(text, name, after, after != before, expected)


def _check_unpinned(control: Control, name: str) -> None:
    pinned = control.pins.get(name)
    if pinned is not None:
        raise OperationError(
            f"{name} is pinned to {pinned:.12}, which serves whatever else is decided; pin another"
            f" version, or lift that first: flask plugins unpin {name}"
        )


def _check_released(control: Control, name: str, digest: str) -> None:
    bad = control.quarantined.get(digest)
    if bad is not None:
        raise OperationError(
            f"{name} {bad.version} ({digest:.12}) is quarantined: {bad.reason}; lift that first:"
            f" flask plugins release {digest:.12}"
        )


def _replaced(
    control: Control, name: str, rejected: Mapping[str, Quarantine], target: str, now: float
) -> Control:
    """Return what quarantines digests; ``target`` takes their place, and of those they replaced.

    :param rejected: the entry of each, unless it has one already.
    """
    before = {
        digest: entry
        for digest, entry in control.quarantined.items()
        if entry.name == name and (entry.replaced_by in rejected or digest in rejected)
    }
    for digest in before:
        control = decide.release(control, digest)
    for digest, entry in {**rejected, **before}.items():
        entry = msgspec.structs.replace(entry, replaced_by=target, at=now)
        control = decide.quarantine(control, digest, entry)
    return control


def _current(host: Host, depot: Depot, name: str, control: Control) -> tuple[set[str], str | None]:
    """Return the digests to reject, and the one to go back to, if one is kept.

    :raises OperationError: the plugin has no file.
    """
    files = files_of(host)
    check_known(name, files)
    here = {p["state"]: p["digest"] for p in host.status()["plugins"] if p["name"] == name}
    if "canary" in here and "serving" in here:
        return {here["canary"]}, here["serving"]
    now = here.get("serving") or files[name]
    rejected = {files[name], now}
    last = depot.versions.previous(name, now, rejected | control.quarantined.keys())
    return rejected, last.digest if last else None


def _prove(host: Host, depot: Depot, name: str, digest: str) -> None:
    """Load a kept version, here: no worker is sent to one that does not load.

    :raises OperationError: it does not, or is damaged.
    """
    kept = depot.versions.get(digest, name)
    if kept is None:
        raise OperationError(
            f"{name} {digest:.12} is not kept any more; see flask plugins history {name}"
        )
    try:
        load(kept, host.settings, depot.cache)
    except PluginLoadError as exc:
        raise OperationError(
            f"{name} {digest:.12} would not load: {exc.reason}; choose another version of"
            f" flask plugins history {name}"
        ) from exc
    finally:
        rest()
