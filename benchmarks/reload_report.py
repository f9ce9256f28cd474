"""``python -m benchmarks reload``: the figures as tables and JSON, and how the goals stand."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import budgets, reload
from benchmarks.measure import Skipped
from benchmarks.results import SCHEMA, environment, number

#: A compile up to this long in wall-clock terms is what the goal of latency speaks of.
_SHORT_COMPILE_MS = 100.0


@dataclasses.dataclass(frozen=True)
class Found:
    """All figures of one run."""

    reloads: Sequence[reload.Reloads]
    loads: Sequence[reload.Load]
    idle: Sequence[reload.Idle]
    #: The machine's load average over a minute, before and after.
    busy: tuple[float, float]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks reload",
        description="Measure reloading under a real gunicorn: latency and CPU time by size and"
        " workers, requests meanwhile, and what watching costs. Linux; about two minutes.",
    )
    made.add_argument("--quick", action="store_true", help="some seconds: to see that it works")
    made.add_argument("--json", type=Path, metavar="FILE", help="also write the results as JSON")
    return made


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 1 if it cannot run here."""
    options = parser().parse_args(arguments)
    try:
        found = measure(reload.QUICK if options.quick else reload.Plan())
    except (Skipped, RuntimeError) as reason:
        print(f"reload: {reason}", file=sys.stderr)
        return 1
    stand = goals(found)
    print(markdown(found, stand))
    if options.json:
        document = {
            "schema": SCHEMA,
            "environment": environment(),
            "settings": {"quick": options.quick},
            "reload": dataclasses.asdict(found),
            "budgets": stand,
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0


def measure(plan: reload.Plan) -> Found:
    """Run everything, one after the other; says on stderr where it is."""
    before = os.getloadavg()[0]
    reloads, loads = [], []
    for workers in plan.workers:
        for size in plan.sizes:
            _say(f"{plan.reloads} reloads of {_size(size)}, {workers} workers")
            reloads.append(reload.series(size, workers, plan.reloads))
    for size in plan.load_sizes:
        _say(f"requests while {_size(size)} is reloaded, {plan.workers[-1]} workers")
        loads.append(reload.load(size, plan.workers[-1], plan))
    _say("idle workers")
    idle = reload.idle(plan.idle, plan.idle_seconds)
    return Found(reloads, loads, idle, (before, os.getloadavg()[0]))


def _say(line: str) -> None:
    print(f"reload: {line} …", file=sys.stderr, flush=True)


def goals(found: Found) -> list[dict[str, Any]]:
    """What reloading may cost, and what it costs; the shape is that of `budgets.summaries`."""
    made = []
    for each in found.reloads:
        what = f"{_size(each.size)}, {each.workers} workers"
        if statistics.median(each.compile) <= _SHORT_COMPILE_MS:
            made.append(_goal(f"{what}: latency", "ms", 150, statistics.median(each.latency)))
        made.append(_goal(f"{what}: window", "ms", 50, statistics.median(each.window)))
        if each.size >= 100_000:
            made.append(_goal(f"{what}: CPU, one compile", "times", 1.1, each.cpu_ratio))
    for load in found.loads:
        what = f"{_size(load.size)}, {load.workers} workers"
        made.append(_goal(f"{what}: p99 without reloads", "times", 1.5, load.p99_ratio))
    return made


def _goal(what: str, unit: str, limit: float, value: float) -> dict[str, Any]:
    name, against = what.rsplit(": ", 1)
    return {
        "benchmark": "reload", "candidate": name, "against": against, "unit": unit,
        "limit": limit, "measured": round(value, 4), "met": value <= limit,
    }  # fmt: skip


def markdown(found: Found, stand: list[dict[str, Any]]) -> str:
    """The whole run."""
    where = environment()
    versions = where["versions"]
    lines = [
        f"{where['python']}, {where['system']}, {where['cpus']} CPUs, load average"
        f" {found.busy[0]:.1f} before and {found.busy[1]:.1f} after; wasmtime"
        f" {versions['wasmtime']}, gunicorn {versions['gunicorn']}, gthread.\n",
        "### reload: from the rename until all workers serve it\n",
        "| module | workers | reloads | p50 ms | max ms | window p50 (max) ms | CPU ms"
        " | one compile ms | CPU, × one compile |",
        "|---|---|---|---|---|---|---|---|---|",
        *map(_reloads_row, found.reloads),
        "\n### reload: requests meanwhile\n",
        "| module | workers | requests | reloads | p50 ms | while reloading | p99 ms"
        " | while reloading | p99, × |",
        "|---|---|---|---|---|---|---|---|---|",
        *map(_load_row, found.loads),
        "\n### reload: watching an idle folder\n",
        "| plugins | % of a core per worker |",
        "|---|---|",
        *(f"| {_plugins(each)} | {each.percent:.3f} |" for each in found.idle),
        "",
        budgets.markdown(stand),
    ]
    return "\n".join(lines)


def _reloads_row(each: reload.Reloads) -> str:
    middle = statistics.median
    cells = [
        _size(each.size), str(each.workers), str(len(each.latency)),
        number(middle(each.latency)), number(max(each.latency)),
        f"{number(middle(each.window))} ({number(max(each.window))})",
        number(middle(each.cpu)), number(middle(each.compile)), number(each.cpu_ratio),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _load_row(each: reload.Load) -> str:
    middle = statistics.median
    cells = [
        _size(each.size), str(each.workers), f"{each.requests} ({each.client})",
        str(each.reloads), number(middle(each.p50)), number(middle(each.p50_reloading)),
        number(middle(each.p99)), number(middle(each.p99_reloading)), number(each.p99_ratio),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _size(size: int) -> str:
    return f"{size // 1000} kB" if size else "0.3 kB"


def _plugins(each: reload.Idle) -> str:
    return "1, PLUGIN_HOST_RELOAD off" if each.plugins is None else str(each.plugins)
