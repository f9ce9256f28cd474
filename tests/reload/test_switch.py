"""Workers that swap together: real processes, and a running host that waits for another worker."""

from __future__ import annotations

import logging
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import guests
import pytest
from deploying import until
from guests import MakeApp

from plugin_host.extension import plugins_changed
from plugin_host.host.host import Host
from plugin_host.host.switch import Switch
from plugin_host.machine.fleet import Beacon

needs_locks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and flock")

SCRIPT = """
import os, sys, time
from pathlib import Path
from plugin_host.machine.datadir import DataDir
from plugin_host.machine.fleet import Beacon
from plugin_host.host.switch import Switch
data = DataDir.open(Path(sys.argv[1]))
beacon = Beacon(data)
beacon.publish({"dir": "", "plugins": []})
switch = Switch(data, beacon, "", float(sys.argv[2]))
print(os.getpid(), flush=True)
serves = "0"
for line in sys.stdin:
    target, delay = line.split()
    time.sleep(float(delay))
    ready = time.monotonic()
    swapped = switch.agree(serves, target)
    print(swapped, ready, time.monotonic(), flush=True)
    serves = target
"""

Start = Callable[[float], list["subprocess.Popen[str]"]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start four workers that wait for each other for so many seconds."""
    processes: list[subprocess.Popen[str]] = []

    def run(timeout: float) -> list[subprocess.Popen[str]]:
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / "data"), str(timeout)]
        pipe = subprocess.PIPE
        processes.extend(
            subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(4)
        )
        assert [int(line(process)) for process in processes] == [p.pid for p in processes]
        return processes

    yield run
    for process in processes:
        process.kill()
        with process:
            pass


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str], new: str, delay: float = 0.0) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{new} {delay}\n")
    process.stdin.flush()


def outcome(process: subprocess.Popen[str]) -> tuple[float, float]:
    """Return when a worker was ready and when it swapped."""
    swapped, ready, moment = line(process).split()
    assert swapped == "True"
    return float(ready), float(moment)


@needs_locks
def test_processes_swap_together_and_none_before_all_are_ready(start: Start) -> None:
    """Each of several rounds: every worker waits for the slowest, and they swap as one."""
    workers, spreads = start(60.0), []
    for number in range(1, 6):
        for index, worker in enumerate(workers):
            tell(worker, str(number), 0.03 * ((index + number) % 4))
        ready, moments = zip(*map(outcome, workers), strict=True)
        assert min(moments) >= max(ready)
        spreads.append(max(moments) - min(moments))
    assert statistics.median(spreads) < 0.05


@needs_locks
def test_a_stopped_process_holds_the_others_to_the_bound(start: Start) -> None:
    """They swap while it stands still; it swaps at once when it goes on; then all is as before."""
    timeout = 0.5
    stopped, *others = start(timeout)
    stopped.send_signal(signal.SIGSTOP)
    for worker in (*others, stopped):
        tell(worker, "1")
    ready, moments = zip(*map(outcome, others), strict=True)
    assert min(moments) - min(ready) >= timeout
    stopped.send_signal(signal.SIGCONT)
    late, moment = outcome(stopped)
    assert late > max(moments)
    assert moment - late < timeout
    for worker in (*others, stopped):
        tell(worker, "2")
    ready, moments = zip(*map(outcome, (*others, stopped)), strict=True)
    assert min(moments) >= max(ready)


@needs_locks
def test_a_killed_process_holds_nobody(start: Start) -> None:
    """Without it the others swap long before a bound of an hour."""
    killed, *others = start(3600.0)
    for worker in others:
        tell(worker, "1")
    killed.kill()
    killed.wait()
    moments = [outcome(worker)[1] for worker in others]
    assert len(moments) == 3


# A host


class Running:
    """A reloading app with the plugin ``v`` in version 1, that swaps together with another worker.

    The other one is nothing but its beacon: it never prepares.
    """

    def __init__(self, make_app: MakeApp, folder: Path, **config: Any) -> None:
        self.folder = folder
        self.put("1")
        self.app, _ = make_app(
            RELOAD=True, POLL_INTERVAL=0.05, SWITCH="together", SWITCH_TIMEOUT=60, **config
        )
        self.app.add_url_rule("/", view_func=lambda: "ok")
        self.host: Host = self.app.extensions["plugin_host"]
        assert self.served() == "1"
        until(lambda: self.host.depot is None or self.host.depot.workers())

    def put(self, version: str, text: str | None = None) -> None:
        draft = self.folder / ".v"
        draft.write_text(guests.adding("x-version", version) if text is None else text)
        draft.rename(self.folder / "v.wat")

    def served(self) -> str | None:
        return self.app.test_client().get("/").headers.get("x-version")

    def other(self) -> Beacon:
        assert self.host.depot is not None
        beacon = Beacon(self.host.depot.datadir)
        assert beacon.publish({"dir": str(self.folder), "plugins": []})
        return beacon

    def waits(self) -> bool:
        """Whether it has prepared, and waits for the other worker."""
        assert self.host._switch is not None
        return self.host._switch.path.exists()


def test_the_old_version_serves_while_a_host_waits(make_app: MakeApp, folder: Path) -> None:
    """Neither requests nor the status wait; when the other worker is gone the host swaps."""
    site = Running(make_app, folder)
    other = site.other()
    site.put("2")
    until(site.waits)
    assert [site.served() for _ in range(3)] == ["1"] * 3
    assert site.host.status()["plugins"][0]["state"] == "serving"
    other.close()
    until(lambda: site.served() == "2")


def test_a_host_that_waits_takes_a_newer_version_with_the_others(
    make_app: MakeApp, folder: Path
) -> None:
    """When another worker has prepared something newer, the one between is never served."""
    site = Running(make_app, folder)
    other = site.other()
    seen: list[tuple[str | None, str | None]] = []

    def receive(sender: object, changes: tuple[Any, ...]) -> None:
        seen.extend((change.old, change.new) for change in changes)

    assert site.host.depot is not None
    newer = Switch(site.host.depot.datadir, other, str(folder), 60)
    newer.close()  # it announces, and does not wait
    first = site.host.status()["plugins"][0]["digest"]
    with plugins_changed.connected_to(receive, site.app):
        site.put("2")
        until(site.waits)
        second = site.host._lineup.serving["v"].digest
        site.put("3")
        for _ in range(2):  # at the first time it is itself to look again
            assert not newer.agree("", "newer")
        until(lambda: site.host._lineup.serving["v"].digest != second)
        assert site.served() == "1"
        other.close()
        until(lambda: site.served() == "3")
        until(lambda: seen)
    assert seen == [(first, site.host.status()["plugins"][0]["digest"])]


def test_closing_a_host_that_waits_ends_the_wait(make_app: MakeApp, folder: Path) -> None:
    """The watcher's thread ends, and what served serves on."""
    site = Running(make_app, folder)
    other = site.other()
    site.put("2")
    until(site.waits)
    site.host.close()
    health = site.host.status()["watcher"]
    assert (health["alive"], site.served()) == (False, "1")
    other.close()


def test_the_way_back_from_a_bad_version_waits_for_nobody(make_app: MakeApp, folder: Path) -> None:
    """A version that fails its probation is left at once, whatever the other workers do."""
    site = Running(make_app, folder)
    site.put("", guests.module({"on_response": guests.TRAP}))
    until(lambda: site.served() is None)
    other = site.other()
    until(lambda: site.served() == "1")
    other.close()


def test_without_a_data_directory_each_worker_swaps_for_itself(
    make_app: MakeApp, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And one warning says so."""
    site = Running(make_app, folder, DATA_DIR="")
    site.put("2")
    until(lambda: site.served() == "2")
    lines = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert [line.split(";")[0] for line in lines] == [
        "PLUGIN_HOST_SWITCH is 'together', but there is no data directory: each worker swaps for"
        " itself"
    ]
