"""A real gunicorn on the loopback interface, and what the kernel knows of its workers."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.reload_guests import HEADER, version
from benchmarks.technology import optional

PLUGIN = "bench.wasm"
THREADS = 2
_PATIENCE = 30.0


class Switch(NamedTuple):
    """A worker's swap: when, by the monotonic clock, and to which digest."""

    pid: int
    ns: int
    digest: str


class Process(NamedTuple):
    """What one process holds."""

    rss_kib: int
    threads: int
    fds: int
    mappings: int


@dataclass(frozen=True)
class Server:
    """A running site with its plugins folder."""

    port: int
    home: Path
    workers: int
    process: subprocess.Popen[bytes]

    @property
    def folder(self) -> Path:
        """The plugins folder."""
        return self.home / "plugins"

    @property
    def plugin(self) -> Path:
        """The plugin that is replaced."""
        return self.folder / PLUGIN

    @property
    def log(self) -> Path:
        """What gunicorn and its workers wrote."""
        return self.home / "log"

    def rename(self, content: bytes) -> int:
        """Deploy by a rename in the folder; returns when, in ns of the monotonic clock."""
        staged = self.folder / f".{PLUGIN}.new"
        staged.write_bytes(content)
        began = time.monotonic_ns()
        staged.rename(self.plugin)
        return began

    def switches(self, offset: int = 0) -> list[Switch]:
        """All swaps that are noted after so many bytes."""
        with (self.home / "switches").open() as file:
            file.seek(offset)
            lines = file.read().splitlines()
        return [Switch(int(pid), int(ns), digest) for pid, ns, digest in map(str.split, lines)]

    def noted(self) -> int:
        """Bytes of swaps that are noted by now."""
        return (self.home / "switches").stat().st_size

    def wait_for_all(self, offset: int) -> list[Switch]:
        """Wait until every worker swapped once after so many bytes of notes.

        Raises `RuntimeError` if one does not.
        """
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            found = {switch.pid: switch for switch in self.switches(offset)}
            if len(found) == self.workers:
                return list(found.values())
            time.sleep(0.005)
        raise RuntimeError(f"{len(found)} of {self.workers} workers followed:\n{self.tail()}")

    def pids(self) -> list[int]:
        """The workers' process ids."""
        pid = self.process.pid
        return [int(each) for each in _proc(pid, f"task/{pid}/children").split()]

    def answers(self) -> dict[int, tuple[str, str]]:
        """Ask until all workers have answered: what both hooks said, by worker.

        Raises `RuntimeError` if one does not answer.
        """
        found: dict[int, tuple[str, str]] = {}
        end = time.monotonic() + _PATIENCE
        with ThreadPoolExecutor(4 * self.workers) as pool:
            while time.monotonic() < end:
                for pid, *said in pool.map(self._ask, range(4 * self.workers)):
                    found[int(pid)] = (said[0], said[1])
                if len(found) == self.workers:
                    return found
        raise RuntimeError(f"{len(found)} of {self.workers} workers answer:\n{self.tail()}")

    def end_on(self, number: int, content: bytes) -> set[tuple[str, str]]:
        """Deploy this version; return what workers say, in time, if it is anything else."""
        self.rename(content)
        wanted = {(version(number),) * 2}
        end = time.monotonic() + _PATIENCE
        while (said := set(self.answers().values())) != wanted and time.monotonic() < end:
            time.sleep(0.1)
        return said - wanted

    def _ask(self, _number: int) -> tuple[str, str, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE)
        try:
            connection.request("GET", "/slow", headers={"Connection": "close"})
            answer = connection.getresponse()
            pid, said = answer.read().decode().split()
            return pid, said, answer.headers.get(HEADER, "None")
        finally:
            connection.close()

    def cpu_ns(self) -> int:
        """CPU time of all workers since they started, of ended threads and compiles too."""
        return sum(cpu_ns(pid) + children_ns(pid) for pid in self.pids())

    def tail(self, lines: int = 30) -> str:
        """The end of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def children_ns(pid: int) -> int:
    """CPU time of a process's ended children, in the kernel's ticks of some 10 ms."""
    used = _proc(pid, "stat").rpartition(")")[2].split()[13:15]
    return sum(map(int, used)) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def cpu_ns(pid: int) -> int:
    """CPU time of a process since it started, by its own clock: exact, unlike its ticks."""
    return time.clock_gettime_ns(~pid << 3 | 2)


def holdings(pid: int) -> Process:
    """What a process holds now. Linux only."""
    status = dict(line.split(":", 1) for line in _proc(pid, "status").splitlines())
    return Process(
        int(status["VmRSS"].split()[0]),
        int(status["Threads"]),
        len(os.listdir(f"/proc/{pid}/fd")),
        _proc(pid, "maps").count("\n"),
    )


def _proc(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text()


@contextmanager
def serve(
    workers: int,
    plugins: dict[str, bytes],
    application: str = "benchmarks.reload_site:app",
    **settings: str,
) -> Iterator[Server]:
    """Serve a site until the block ends; every worker watches by then.

    :param plugins: what is in the folder at the start.
    :param application: `benchmarks.reload_site`, or what has its pages and more.
    :param settings: ``PLUGIN_HOST_`` keys.

    Raises `Skipped` without gunicorn or outside Linux, and `RuntimeError` if it does not start.
    """
    optional("gunicorn", "gunicorn")
    with TemporaryDirectory(prefix="plugin-host-") as name:
        home = Path(name)
        (home / "plugins").mkdir()
        (home / "switches").touch()
        for file, content in plugins.items():
            (home / "plugins" / file).write_bytes(content)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(
                _command(port, workers, application),
                env=_environment(home, settings),
                cwd=Path(__file__).parents[1],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            server = Server(port, home, workers, process)
            _wait_until_up(server)
            server.answers()  # the first request starts the watcher
            yield server
        finally:
            _end(process)


def _command(port: int, workers: int, application: str) -> Sequence[str]:
    return [
        sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}",
        "--workers", str(workers), "--worker-class", "gthread", "--threads", str(THREADS),
        "--keep-alive", "60", "--log-level", "warning", application,
    ]  # fmt: skip


def _environment(home: Path, settings: dict[str, str]) -> dict[str, str]:
    own = {"DIR": str(home / "plugins"), "DATA_DIR": str(home / "data"), "RELOAD": "true"}
    flask = {f"FLASK_PLUGIN_HOST_{key}": value for key, value in (own | settings).items()}
    # Newer gunicorns keep a control socket at HOME.
    return os.environ | flask | {"HOME": str(home), "BENCHMARK_SWITCHES": str(home / "switches")}


def _wait_until_up(server: Server) -> None:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end and server.process.poll() is None:
        try:
            server._ask(0)
        except OSError:
            time.sleep(0.05)
            continue
        return
    raise RuntimeError(f"gunicorn does not answer:\n{server.tail()}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
