"""Several processes at one store at once: how many operations a second, and how long the slow ones.

``python -m benchmarks.state_crowd URL WORK SECONDS`` is one of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.client import percentile
from benchmarks.results import number
from plugin_host.config.stateurl import parse_state
from plugin_host.state import Namespace, open_store

WORKERS = 4
WORKS = ("get", "add", "admit")


def _one(space: Namespace, work: str) -> Callable[[int], object]:
    me = os.getpid()
    if work == "get":
        return lambda _: space.get(b"n", deadline=time.monotonic() + 10)
    if work == "add":
        return lambda _: space.add(b"n", 1, deadline=time.monotonic() + 10)
    return lambda turn: space.put_if_fewer_than(
        b"id/", 100_000_000, b"id/%d-%d" % (me, turn), b"1", deadline=time.monotonic() + 10
    )


def work(url: str, name: str, seconds: float) -> None:
    """Do one work for so long, and print how long each time took, in microseconds."""
    parsed = parse_state(url)
    if parsed is None:
        raise ValueError(url)
    store = open_store(parsed)
    call = _one(store.namespace("crowd"), name)
    call(-1)
    took: list[float] = []
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        call(len(took))
        took.append(round((time.perf_counter() - start) * 1e6, 1))
    store.close()
    print(json.dumps(took))


def crowds(folder: Path, seconds: float, works: Sequence[str] = WORKS) -> str:
    """A table of works and backends."""
    urls = {
        "sqlite:": f"sqlite:///{folder}/crowd.sqlite3",
        "sqlite:, synchronous=full": f"sqlite:///{folder}/durable.sqlite3?synchronous=full",
    }
    if (folder / "redis.sock").exists():
        urls["redis:"] = f"unix://{folder}/redis.sock"
    lines = [
        f"### state, {WORKERS} processes at once\n",
        "| work | backend | operations/s | p50 µs | p99 µs | max ms |",
        "|---|---|---|---|---|---|",
    ]
    for name in works:
        for label, url in urls.items():
            took = sorted(_crowd(url, name, seconds))
            cells = [f"{len(took) / seconds:.0f}", number(percentile(took, 50))]
            cells += [number(percentile(took, 99)), number(took[-1] / 1000)]
            lines.append(f"| {name} | {label} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _crowd(url: str, name: str, seconds: float) -> list[float]:
    command = [sys.executable, "-m", "benchmarks.state_crowd", url, name, str(seconds)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(WORKERS)]
    return [took for process in running for took in json.loads(process.communicate()[0])]


if __name__ == "__main__":
    work(sys.argv[1], sys.argv[2], float(sys.argv[3]))
