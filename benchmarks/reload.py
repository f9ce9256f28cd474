"""What a reload costs under a real gunicorn: ``python -m benchmarks reload``.

A worker notes when it swapped, by the clock that all processes share; CPU time is what the kernel
accounts to the workers, each new version against a compile of the same bytes right before.
"""

from __future__ import annotations

import re
import resource
import shutil
import statistics
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from benchmarks import reload_guests
from benchmarks.client import Client, percentile
from benchmarks.servers import PLUGIN, Server, cpu_ns, serve
from plugin_host.wasm.engine import engine

CONNECTIONS = 8
_numbers = count(1)


@dataclass(frozen=True)
class Plan:
    """How much is measured; times in seconds.

    :param reloads: of each size, with each number of workers.
    :param pairs: of two windows of load, one without reloads and one with them.
    :param pause: between two reloads under load.
    """

    sizes: tuple[int, ...] = (0, 25_000, 100_000, 500_000)
    workers: tuple[int, ...] = (2, 4)
    reloads: int = 6
    pairs: int = 3
    window: float = 3.0
    pause: float = 0.5
    load_sizes: tuple[int, ...] = (0, 100_000)
    idle: tuple[int, ...] = (1, 20, 200)
    idle_seconds: float = 5.0


QUICK = Plan((0, 25_000), (2,), 3, 1, 1.0, 0.3, (0,), (1,), 1.0)


@dataclass(frozen=True)
class Reloads:
    """A series of reloads; one value for each, in milliseconds."""

    size: int
    workers: int
    #: From the rename until the last worker serves the new version.
    latency: tuple[float, ...]
    #: From the first worker's swap to the last one's.
    window: tuple[float, ...]
    #: CPU time of all workers together.
    cpu: tuple[float, ...]
    #: CPU time of one compile of the same bytes.
    compile: tuple[float, ...]

    @property
    def cpu_ratio(self) -> float:
        """CPU of a reload against one compile: the median over pairs."""
        pairs = zip(self.cpu, self.compile, strict=True)
        return statistics.median(cpu / alone for cpu, alone in pairs)


@dataclass(frozen=True)
class Load:
    """Latencies of requests in milliseconds, one value for each window of load."""

    size: int
    workers: int
    client: str
    requests: int
    reloads: int
    p50: tuple[float, ...]
    p99: tuple[float, ...]
    p50_reloading: tuple[float, ...]
    p99_reloading: tuple[float, ...]

    @property
    def p99_ratio(self) -> float:
        """p99 while reloading against the window before: the median over pairs."""
        pairs = zip(self.p99_reloading, self.p99, strict=True)
        return statistics.median(with_it / without for with_it, without in pairs)


@dataclass(frozen=True)
class Idle:
    """What watching costs one worker, in per cent of a core.

    :param plugins: how many; None for a worker that does not watch.
    """

    plugins: int | None
    percent: float


def series(size: int, workers: int, reloads: int) -> Reloads:
    """Replace the plugin so many times, each time waiting for every worker."""
    latency, window, cpu, alone = [], [], [], []
    with serve(workers, {PLUGIN: _next(size)}) as server:
        _reload(server, _next(size))  # the first one meets cold code
        for _ in range(reloads):
            content = _next(size)
            began = _used_ms()
            engine(True).compile(content, Path(PLUGIN))
            alone.append(_used_ms() - began)
            used = server.cpu_ns()
            renamed, switched = _reload(server, content)
            time.sleep(0.3)  # what follows a swap counts too
            cpu.append((server.cpu_ns() - used) / 1e6)
            latency.append((switched[-1] - renamed) / 1e6)
            window.append((switched[-1] - switched[0]) / 1e6)
    return Reloads(size, workers, tuple(latency), tuple(window), tuple(cpu), tuple(alone))


def _used_ms() -> float:
    """CPU time of this thread and of processes that it waited for: large modules have one."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1e3 * (time.thread_time() + children.ru_utime + children.ru_stime)


def _next(size: int) -> bytes:
    return reload_guests.module(size, next(_numbers))


def _reload(server: Server, content: bytes) -> tuple[int, list[int]]:
    """Replace the plugin; return when it was renamed and when the workers swapped, in order."""
    offset = server.noted()
    renamed = server.rename(content)
    switches = server.wait_for_all(offset)
    if len({switch.digest for switch in switches}) != 1:
        raise RuntimeError(f"workers serve different versions: {switches}")
    return renamed, sorted(switch.ns for switch in switches)


def load(size: int, workers: int, plan: Plan) -> Load:
    """Load the site, in turn with and without reloads."""
    plain, reloading, requests, reloads = [], [], 0, 0
    with serve(workers, {PLUGIN: _next(size)}) as server:
        _window(server, min(1.0, plan.window))  # does not count
        for _ in range(plan.pairs):
            plain.append(_window(server, plan.window))
            with _Reloader(server, size, plan.pause) as reloader:
                reloading.append(_window(server, plan.window))
            reloads += reloader.reloads
        _expect_newest(server)
    requests = sum(each[2] for each in plain + reloading)
    return Load(
        size, workers, "wrk" if _wrk(plan.window) else "Python", requests, reloads,
        tuple(each[0] for each in plain), tuple(each[1] for each in plain),
        tuple(each[0] for each in reloading), tuple(each[1] for each in reloading),
    )  # fmt: skip


def _expect_newest(server: Server) -> None:
    """Raises `RuntimeError` unless all workers serve what was deployed last."""
    newest = next(_numbers)
    others = server.end_on(newest, reload_guests.module(0, newest))
    if others:
        raise RuntimeError(f"version {newest} was deployed last, workers serve {others}")


class _Reloader:
    """Replaces the plugin again and again, until the block ends.

    :param pause: seconds between two renames, whatever the workers make of them.
    """

    def __init__(self, server: Server, size: int, pause: float) -> None:
        self.reloads = 0
        self._server, self._size, self._pause = server, size, pause
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.wait(self._pause):
            self._server.rename(_next(self._size))
            self.reloads += 1

    def __enter__(self) -> _Reloader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def _wrk(seconds: float) -> str | None:
    return shutil.which("wrk") if seconds >= 1 else None


def _window(server: Server, seconds: float) -> tuple[float, float, int]:
    """p50 and p99 in milliseconds, and the number of requests. Raises if one failed."""
    wrk = _wrk(seconds)
    if wrk is None:
        with Client(server.port, CONNECTIONS) as client:
            time.sleep(seconds)
        if client.failures:
            raise RuntimeError(f"requests failed: {client.failures[:3]}")
        return percentile(client.times, 50), percentile(client.times, 99), client.requests
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds:.0f}s", "--latency"]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{server.port}/"],
        capture_output=True, text=True, check=True, timeout=seconds + 30,
    )  # fmt: skip
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise RuntimeError(f"wrk said: {done.stdout}")
    found = re.search(r"(\d+) requests in", done.stdout)
    return _percentage(done.stdout, 50), _percentage(done.stdout, 99), int(found[1] if found else 0)


def _percentage(said: str, percent: int) -> float:
    """A line of wrk's latency distribution, in milliseconds."""
    found = re.search(rf"^ +{percent}% +([\d.]+)(us|ms|s)$", said, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"wrk said: {said}")
    return float(found[1]) * {"us": 1e-3, "ms": 1, "s": 1e3}[found[2]]


def idle(counts: Sequence[int], seconds: float) -> list[Idle]:
    """Measure workers that have nothing to do, all at the same time."""
    with ExitStack() as stack:
        servers: list[tuple[int | None, Server]] = []
        servers.append((None, stack.enter_context(serve(1, {PLUGIN: _next(0)}, RELOAD="false"))))
        for number in counts:
            plugins = {f"bench{i}.wasm": _next(0) for i in range(number)}
            servers.append((number, stack.enter_context(serve(1, plugins))))
        time.sleep(3)  # fresh files are read once more, after 2 s
        pids = {number: server.pids()[0] for number, server in servers}
        used = {number: cpu_ns(pid) for number, pid in pids.items()}
        began = time.monotonic_ns()
        time.sleep(seconds)
        passed = time.monotonic_ns() - began
        return [
            Idle(number, 100 * (cpu_ns(pid) - used[number]) / passed)
            for number, pid in pids.items()
        ]
