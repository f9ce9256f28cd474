"""``flask plugins status``: what every running worker of this machine serves."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

import click

from ..hostfunctions.metrics import by_plugin
from ..machine.control import Control
from ..machine.fleet import WorkerState
from . import options
from .operating import COLOURS, failing, find_host
from .output import NONE, Cell, Styled, safe, say, say_json, table, title, warn

_EPILOG = """\b
Examples:
  flask plugins status
  flask --app shop:create_app plugins status --json

\b
Exit codes:
  0  all workers serve the same, and every plugin loads (also if no worker is running)
  1  workers differ, a plugin does not load, a worker is not heard of, or the app or its data
     directory is broken
  2  the command line is wrong
"""

_WORKERS = ("PID", "SINCE", "GENERATION")
_PLUGINS = ("PLUGIN", "VERSION", "DIGEST", "STATE", "WORKERS", "CALLS", "ERRORS", "LAST ERROR")
_KEY = "name", "version", "digest", "state"
_PATIENCE = 10.0  # seconds beyond two looks at the folder after which a worker should be heard of
_SILENT = (
    "worker {} has not published its state for {:.0f} s, and may serve something else: it hangs,"
    " compiles, or cannot write to the data directory; its log says which"
)
_SHOWN = *_KEY, "loaded_at", "calls", "errors", "last_error", "load_error", "breaker", "metrics"


@click.command("status", epilog=_EPILOG)
@options.as_json
@click.pass_context
def show_status(ctx: click.Context, as_json: bool) -> None:
    """Show what every running worker of this machine serves, and what was decided.

    A worker is seen from its first request on, and for as long as it lives.
    """
    host, depot = find_host(ctx)
    with failing():
        workers, control = depot.workers(), depot.control.read()
    differing, failed = _differing(workers), _failed(workers)
    silent = _silent(workers, _PATIENCE + 2 * host.settings.poll_interval)
    if as_json:
        say_json(_to_json(workers, control, differing, failed, silent))
    else:
        _show(workers, control, differing, failed)
        for pid, seconds in silent.items():
            warn(_SILENT.format(pid, seconds))
    if differing or failed or silent:
        ctx.exit(1)


def when(at: float) -> str:
    """Return a Unix time for people, in local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _plugins(worker: WorkerState) -> list[dict[str, Any]]:
    """Return what a worker serves, with every key that is shown."""
    plugins = worker.status.get("plugins", ())
    return [{key: plugin.get(key) for key in _SHOWN} for plugin in plugins]


def _generation(worker: WorkerState) -> int | None:
    return worker.status.get("control_generation")


def _differing(workers: list[WorkerState]) -> list[str]:
    """Return the names of the plugins of which not all workers serve the same."""
    served = [
        {(p["name"], p["digest"], p["state"]) for p in _plugins(worker)} for worker in workers
    ]
    everywhere = set.intersection(*served) if served else set()
    return sorted({str(name) for each in served for name, *_ in each - everywhere})


def _silent(workers: list[WorkerState], bound: float) -> dict[int, float]:
    """Return the workers whose state is older than that many seconds, and how old it is."""
    ages = {worker.pid: time.time() - worker.published_at for worker in workers}
    return {pid: age for pid, age in ages.items() if age > bound}


def _failed(workers: list[WorkerState]) -> dict[str, str]:
    """Return why plugins' newest files do not serve, by name."""
    return {
        str(plugin["name"]): str(plugin["load_error"])
        for worker in workers
        for plugin in _plugins(worker)
        if plugin["load_error"]
    }


def _to_json(
    workers: list[WorkerState],
    control: Control,
    differing: list[str],
    failed: dict[str, str],
    silent: Collection[int],
) -> dict[str, Any]:
    return {
        "ok": not differing and not failed and not silent,
        "differing": differing,
        "silent": [*silent],
        "metrics": by_plugin(worker.status for worker in workers),
        "workers": [
            {
                "pid": worker.pid,
                "since": worker.since,
                "published_at": worker.published_at,
                "generation": _generation(worker),
                "plugins": _plugins(worker),
            }
            for worker in workers
        ],
        "control": {
            "generation": control.generation,
            "disabled": sorted(control.disabled),
            "pinned": [{"name": name, "digest": d} for name, d in sorted(control.pins.items())],
            "quarantined": [
                {
                    "digest": digest,
                    "name": bad.name,
                    "version": bad.version,
                    "reason": bad.reason,
                    "at": bad.at,
                    "replaced_by": bad.replaced_by,
                }
                for digest, bad in control.quarantined.items()
            ],
        },
    }


def _show(
    workers: list[WorkerState], control: Control, differing: list[str], failed: dict[str, str]
) -> None:
    if not workers:
        say("no worker is running, or none has had a request yet")
    else:
        rows = [(str(w.pid), when(w.since), str(_generation(w))) for w in workers]
        for line in table(rows, _WORKERS):
            say(line)
        say()
        for line in table(_rows(workers), _PLUGINS):
            say(line)
    if failed:
        say()
    for name, error in sorted(failed.items()):
        say(f"{click.style(safe(name), fg='red')}: {safe(error)}")
    _show_control(control)
    if workers:
        say()
        agree = f"{len(workers)} workers agree" if len(workers) > 1 else "1 worker"
        say(safe(f"workers differ: {', '.join(differing)}") if differing else agree)


def _rows(workers: list[WorkerState]) -> list[tuple[Cell, ...]]:
    """Return a row for each version and state of a plugin, with the workers that have it so."""
    groups: dict[tuple[str, ...], list[tuple[int, dict[str, Any]]]] = {}
    for worker in workers:
        for plugin in _plugins(worker):
            plain = [str(plugin[part] or NONE) for part in _KEY]
            key = *plain, (plugin["breaker"] or {}).get("state", "")
            groups.setdefault(key, []).append((worker.pid, plugin))
    return [_row(key, members, len(workers)) for key, members in groups.items()]


def _row(
    key: tuple[str, ...], members: list[tuple[int, dict[str, Any]]], count: int
) -> tuple[Cell, ...]:
    name, version, digest, state, breaker = key
    shown = f"{state}, {breaker}" if breaker in ("open", "half-open") else state
    errors = [str(plugin["last_error"]) for _, plugin in members if plugin["last_error"]]
    return (
        name,
        version,
        digest[:12],
        Styled(shown, COLOURS.get(state, "") if shown == state else "red"),
        "all" if len(members) == count else ", ".join(str(pid) for pid, _ in members),
        str(sum(plugin["calls"] or 0 for _, plugin in members)),
        str(sum(plugin["errors"] or 0 for _, plugin in members)),
        errors[-1] if errors else NONE,
    )


def _show_control(control: Control) -> None:
    """Write what was decided, a line for each."""
    lines = [f"  disabled     {name}" for name in sorted(control.disabled)]
    lines += [f"  pinned       {name} {d:.12}" for name, d in sorted(control.pins.items())]
    for digest, bad in control.quarantined.items():
        instead = f", replaced by {bad.replaced_by:.12}" if bad.replaced_by else ""
        lines.append(
            f"  quarantined  {bad.name} {bad.version} {digest:.12}{instead}, {when(bad.at)}:"
            f" {bad.reason}"
        )
    if lines:
        say()
        say(title("Decided:"))
    for line in lines:
        say(safe(line))
