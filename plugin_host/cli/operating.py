"""What the commands share that act on running workers: the host, the wait, and how it is shown."""

from __future__ import annotations

import contextlib
import getpass
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import click

from ..errors import PluginHostError
from ..host.host import Host
from ..host.operations import the_depot
from ..machine.decision import Decision
from ..machine.depot import Depot
from ..machine.fleet import WorkerState
from ..state import Store
from .configuration import find_configuration
from .options import Failure, Seconds
from .output import NONE, Cell, Styled, safe, say, say_json, table

COLOURS = {"serving": "green", "canary": "yellow", "failed": "red", "disabled": "yellow"}
_HEADER = ("PID", "FOLLOWED", "PLUGIN", "VERSION", "DIGEST", "STATE")
_NAP = 0.05
_SILENCE = 1.0  # seconds after which somebody at a terminal wants to know why nothing happens

seconds = click.option(
    "--wait",
    type=Seconds(0, 3600),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait until every worker has followed; 0 does not wait.",
)


def find_host(ctx: click.Context) -> tuple[Host, Depot]:
    """Return the app's host, in this process, and what it shares with the workers.

    :raises Failure: there is no app, or no data directory that can be used.
    """
    found = find_configuration(ctx)
    if found.host is None:
        raise Failure(
            "there is no app, whose workers this is about; name it with --app or FLASK_APP"
        )
    with failing():
        return found.host, the_depot(found.host)


def find_store(ctx: click.Context) -> tuple[Host, Store]:
    """Return the app's host, and the store of what its plugins keep.

    :raises Failure: there is no app, or its store is in each worker's own memory.
    """
    found = find_configuration(ctx)
    if found.host is None:
        raise Failure("there is no app, whose data this is about; name it with --app or FLASK_APP")
    if found.settings.state.scheme == "memory":
        raise Failure(
            "PLUGIN_HOST_STATE is memory: each process has its own, which no other can see; use"
            " sqlite:///… or redis://…"
        )
    return found.host, found.host.services.store


@contextlib.contextmanager
def failing() -> Iterator[None]:
    """Turn the project's errors into the command's."""
    try:
        yield
    except PluginHostError as exc:
        raise Failure(exc) from exc


def _operator() -> str:
    """Return who is at the terminal, also through sudo."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, ImportError, OSError):  # a container's user without a name
        return f"uid {os.getuid()}"


def carry_out(
    ctx: click.Context, decide: Callable[[Host, str], Decision], wait: float, as_json: bool
) -> None:
    """Decide, wait for the workers, and show what became of it.

    :param decide: is given the host and who decides.

    Exit code 1: a worker did not follow in time, or what it was to load does not load.
    """
    host, depot = find_host(ctx)
    with failing():
        decision = decide(host, _operator())
        workers = _follow(depot, decision, wait)
    ok = not wait or all(decision.is_followed(worker) for worker in workers)
    ok = ok and not any(_fails(decision, worker) for worker in workers)
    if as_json:
        say_json(_to_json(decision, workers, ok))
    else:
        _show(decision, workers, wait, host.settings.poll_interval)
    if not ok:
        ctx.exit(1)


def _follow(depot: Depot, decision: Decision, wait: float) -> list[WorkerState]:
    """Return the states of all workers when they have followed, or the time is over."""
    began, told = time.monotonic(), False
    while True:
        workers = depot.workers()
        late = [worker.pid for worker in workers if not decision.is_followed(worker)]
        waited = time.monotonic() - began
        if not late or waited >= wait:
            return workers
        if waited > _SILENCE and not told:
            told = True
            pids = ", ".join(map(str, late))
            say(f"waiting for {len(late)} of {len(workers)} workers: {pids}", err=True)
        nap(_NAP)


def nap(interval: float) -> None:
    """Let the workers work."""
    time.sleep(interval)


def _fails(decision: Decision, worker: WorkerState) -> bool:
    """Whether a worker that has followed could not load what it was to load."""
    plugins = decision.plugins(worker) if decision.is_followed(worker) else ()
    return any(plugin.get("load_error") for plugin in plugins)


def _to_json(decision: Decision, workers: list[WorkerState], ok: bool) -> dict[str, Any]:
    keys = "name", "version", "digest", "state", "load_error"
    return {
        "ok": ok,
        "decision": decision.text,
        "name": decision.name,
        "changed": decision.changed,
        "generation": decision.generation,
        "workers": [
            {
                "pid": worker.pid,
                "followed": decision.is_followed(worker),
                "plugins": [{k: p.get(k) for k in keys} for p in decision.plugins(worker)],
            }
            for worker in workers
        ],
    }


def _show(decision: Decision, workers: list[WorkerState], wait: float, interval: float) -> None:
    before = "" if decision.changed else ", as it was before"
    say(safe(f"{decision.text}{before} (generation {decision.generation})"))
    if not workers:
        say("no worker is running; this holds for the next start")
        return
    for line in table((row for worker in workers for row in _rows(decision, worker)), _HEADER):
        say(line)
    for error in _errors(decision, workers):
        say(safe(error))
    late = sum(not decision.is_followed(worker) for worker in workers)
    if late and wait:
        say(
            f"{late} of {len(workers)} workers did not follow within {wait:g} s; they look every"
            f" {interval:g} s (PLUGIN_HOST_POLL_INTERVAL), and see flask plugins status"
        )


def _rows(decision: Decision, worker: WorkerState) -> Iterator[tuple[Cell, ...]]:
    followed = Styled("yes", "green") if decision.is_followed(worker) else Styled("no", "red")
    for plugin in decision.plugins(worker) or [{}]:
        state = str(plugin.get("state", NONE))
        yield (
            str(worker.pid),
            followed,
            str(plugin.get("name", decision.name or NONE)),
            str(plugin.get("version") or NONE),
            str(plugin.get("digest") or NONE)[:12],
            Styled(state, COLOURS.get(state, "")),
        )


def _errors(decision: Decision, workers: list[WorkerState]) -> list[str]:
    """Return why plugins do not load, each reason once."""
    found = (
        f"{plugin.get('name')}: {plugin['load_error']}"
        for worker in workers
        if decision.is_followed(worker)
        for plugin in decision.plugins(worker)
        if plugin.get("load_error")
    )
    return list(dict.fromkeys(found))
