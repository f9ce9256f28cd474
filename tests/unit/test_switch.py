"""The agreement on one moment: who waits for whom, and for how long at most."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from plugin_host.host.switch import LEAD, Switch, _target_of_status
from plugin_host.machine.datadir import DataDir
from plugin_host.machine.fleet import Beacon

TIMEOUT = 2.0
OLD: list[dict[str, Any]] = [{"state": "serving", "name": "v", "digest": "1"}]
NEW: list[dict[str, Any]] = [{"state": "serving", "name": "v", "digest": "2"}]


def target(plugins: list[dict[str, Any]]) -> str:
    return _target_of_status({"plugins": plugins})


class Machine:
    """Workers of one machine, in one thread: what happens while one of them sleeps is told."""

    def __init__(self, tmp_path: Path) -> None:
        self.datadir = DataDir.open(tmp_path / "data")
        self.now = 1000.0
        self.slept = 0.0
        #: Called, once, by the first sleep that ends after the time.
        self.events: list[tuple[float, Callable[[], object]]] = []
        self.beacons: list[Beacon] = []
        self._own = threading.local()
        #: In a simulation: who wakes when.
        self._awake: list[tuple[float, threading.Semaphore, threading.Semaphore]] = []

    def worker(
        self, serves: list[dict[str, Any]] = OLD, folder: str = "/plugins", **changes: Any
    ) -> tuple[Switch, Beacon]:
        since = float(len(self.beacons))
        beacon = Beacon(self.datadir, lambda: since)
        self.beacons.append(beacon)
        assert beacon.publish({"dir": folder, "plugins": serves})
        clock = lambda: self.now  # noqa: E731
        switch = Switch(self.datadir, beacon, folder, TIMEOUT, clock=clock, sleep=self.sleep)
        return switch, beacon

    def simulate(self, lives: dict[float, Callable[[], float]]) -> list[float]:
        """Let workers live side by side, each from a time on; whoever wakes first is next."""
        with ThreadPoolExecutor(len(lives)) as pool:
            began, returned = self.now, []
            for after, life in lives.items():
                turn, rest = threading.Semaphore(0), threading.Semaphore(0)
                returned.append(pool.submit(self._live, life, turn, rest))
                self._awake.append((began + after, turn, rest))
            while self._awake:
                self._awake.sort(key=lambda entry: entry[0])
                self.now, turn, rest = self._awake.pop(0)
                turn.release()
                rest.acquire()
            return [each.result() for each in returned]

    def _live(
        self, life: Callable[[], float], turn: threading.Semaphore, rest: threading.Semaphore
    ) -> float:
        self._own.turns = turn, rest
        turn.acquire()
        try:
            return life()
        finally:
            rest.release()

    def sleep(self, seconds: float) -> None:
        turns = getattr(self._own, "turns", None)
        if turns is not None:
            self._awake.append((self.now + seconds, *turns))
            turns[1].release()
            turns[0].acquire()
            return
        self.slept += seconds
        self.now += seconds
        for event in [event for event in self.events if event[0] <= self.now]:
            if event in self.events:
                self.events.remove(event)
                event[1]()

    def at(self, after: float, do: Callable[[], object]) -> None:
        self.events.append((self.now + after, do))


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    for beacon in machine.beacons:
        beacon.close()


def waited(machine: Machine, switch: Switch, old: str = "1", new: str = "2") -> float:
    """Agree; return the seconds that it took."""
    began = machine.now
    assert switch.agree(old, new)
    return machine.now - began


def test_a_worker_alone_does_not_wait(machine: Machine) -> None:
    """A single worker swaps at once, and writes nothing."""
    switch, _ = machine.worker()
    assert waited(machine, switch) == 0
    assert not switch.path.exists()


def test_workers_of_another_folder_are_not_waited_for(machine: Machine) -> None:
    """Apps that share a data directory do not hold each other."""
    switch, _ = machine.worker()
    machine.worker(folder="/other")
    assert waited(machine, switch) == 0


def test_nothing_changed_is_nothing_to_wait_for(machine: Machine) -> None:
    """The same versions, loaded afresh, are swapped at once."""
    switch, _ = machine.worker()
    machine.worker()
    assert waited(machine, switch, "1", "1") == 0


def test_a_worker_without_a_beacon_does_not_wait(machine: Machine) -> None:
    """Who is not in the fleet takes no part."""
    switch, beacon = machine.worker()
    machine.worker()
    beacon.close()
    assert waited(machine, switch) == 0


def test_the_first_waits_until_the_last_has_prepared(machine: Machine) -> None:
    """All swap at the moment that the last one sets."""
    (a, _), (b, _), (c, _) = (machine.worker() for _ in range(3))
    swapped = {}

    def prepare(name: str, switch: Switch) -> None:
        assert switch.agree("1", "2")
        swapped[name] = machine.now

    machine.at(0.2, lambda: prepare("b", b))
    machine.at(0.5, lambda: prepare("c", c))
    began = machine.now
    prepare("a", a)
    assert swapped.keys() == {"a", "b", "c"}
    assert {round(moment - began - 0.5, 2) for moment in swapped.values()} == {LEAD}


def test_who_serves_the_target_already_is_not_waited_for(machine: Machine) -> None:
    """A worker that started with the new files has nothing to prepare."""
    switch, _ = machine.worker()
    machine.worker(NEW)
    assert waited(machine, switch, target(OLD), target(NEW)) == pytest.approx(LEAD)


def test_who_never_prepares_holds_the_others_to_the_bound(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    """After it they swap, at one moment still, and one line names the worker."""
    (a, _), (b, _) = machine.worker(), machine.worker()
    machine.worker()
    swapped = []
    machine.at(1.0, lambda: swapped.append((b.agree("1", "2"), machine.now)))
    began = machine.now
    assert waited(machine, a) == pytest.approx(TIMEOUT + LEAD, abs=0.02)
    assert [(done, round(moment - began, 1)) for done, moment in swapped] == [(True, TIMEOUT)]
    (line,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert line == (
        f"swapping without waiting any longer for worker {os.getpid()}: not ready after 2 s"
    )


def test_who_dies_while_preparing_holds_nobody(machine: Machine) -> None:
    """The others go on as soon as it has disappeared."""
    switch, _ = machine.worker()
    _, other = machine.worker()
    machine.at(0.3, other.close)
    assert waited(machine, switch) == pytest.approx(0.3 + LEAD, abs=0.1)


def test_who_comes_late_swaps_at_once(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever prepares after the others have swapped waits for nobody, and says so."""
    (a, seen), (b, _) = machine.worker(), machine.worker()
    machine.worker()  # never prepares
    waited(machine, a)
    seen.publish({"dir": "/plugins", "plugins": NEW})
    machine.now += 5.0
    with caplog.at_level(logging.INFO):
        assert waited(machine, b) == 0
    assert "swapping 5000 ms after the other workers" in caplog.text


def test_the_same_target_again_is_a_new_round(machine: Machine) -> None:
    """There and back and there again is waited for each time."""
    (a, _), (b, _) = machine.worker(), machine.worker()
    for old, new in (("1", "2"), ("2", "1"), ("1", "2"), ("1", "2")):
        machine.at(0.2, lambda old=old, new=new: b.agree(old, new))
        assert waited(machine, a, old, new) == pytest.approx(0.2 + LEAD, abs=0.05)
        machine.now += 1.0


def test_a_round_of_workers_that_are_gone_is_not_joined(machine: Machine) -> None:
    """After a restart the same target is no reason to think that one is late."""
    workers = [machine.worker() for _ in range(2)]
    machine.at(0.1, lambda: workers[1][0].agree("1", "2"))
    waited(machine, workers[0][0])
    for _, beacon in workers:
        beacon.close()
    (a, _), (b, _) = machine.worker(), machine.worker()
    machine.now += 1.0
    machine.at(0.2, lambda: b.agree("1", "2"))
    assert waited(machine, a) == pytest.approx(0.2 + LEAD, abs=0.05)


def insist(machine: Machine, switch: Switch, targets: list[str]) -> Callable[[], float]:
    """What a host does: look again, find the next target, and come back; returns when it swaps."""

    def run() -> float:
        while not switch.agree("1", targets[0]):
            machine.sleep(0.01)
            del targets[:-1]
        return machine.now

    return run


def test_who_has_prepared_something_else_looks_again_and_joins(machine: Machine) -> None:
    """Of two changes in a row the workers swap to the second, once, together."""
    (a, _), (b, _), (c, _) = (machine.worker() for _ in range(3))
    began, targets = machine.now, ["2", "3"]
    moments = machine.simulate(
        {
            0.0: insist(machine, a, targets),
            0.1: insist(machine, b, ["2", "3"]),
            0.2: insist(machine, c, ["3"]),
        }
    )
    assert targets == ["3"]
    assert {round(moment, 6) for moment in moments} == {round(moments[0], 6)}
    assert moments[0] - began < 0.5


def test_workers_that_never_agree_on_a_target_wait_no_longer_than_the_bound(
    machine: Machine,
) -> None:
    """If two see different files for good, each swaps to its own after the bound."""
    (a, _), (b, _) = machine.worker(), machine.worker()
    began = machine.now
    moments = machine.simulate({0.0: insist(machine, a, ["2"]), 0.1: insist(machine, b, ["3"])})
    assert all(TIMEOUT <= moment - began < TIMEOUT + 0.2 for moment in moments)


def test_closing_ends_the_wait_without_a_swap(machine: Machine) -> None:
    """A host that is being closed does not wait for the bound."""
    switch, _ = machine.worker()
    machine.worker()
    machine.at(0.1, switch.close)
    assert not switch.agree("1", "2")
    assert machine.slept < 0.2


@pytest.mark.parametrize(
    "left",
    [
        pytest.param(b"not a round", id="garbage"),
        pytest.param(
            b'{"number":7,"target":"2","since":900,"ready":[[1,5.0]],"moment":null}', id="abandoned"
        ),
        pytest.param(
            b'{"number":7,"target":"2","since":9e6,"ready":[[1,5.0]],"moment":null}', id="earlier"
        ),
        pytest.param(
            b'{"number":7,"target":"2","since":9e6,"ready":[[1,5.0]],"moment":9e6}', id="set"
        ),
    ],
)
def test_what_an_earlier_life_left_is_no_round(machine: Machine, left: bytes) -> None:
    """Neither garbage, nor a round whose workers died, nor one from before the machine's start."""
    (a, _), (b, _) = machine.worker(), machine.worker()
    machine.datadir.write(a.path, [left], durable=False)
    machine.at(0.2, lambda: b.agree("1", "2"))
    assert waited(machine, a) == pytest.approx(0.2 + LEAD, abs=0.05)


def test_where_nothing_can_be_written_each_worker_swaps_alone(
    machine: Machine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk delays no deploy, and the log says why the workers differ."""
    switch, _ = machine.worker()
    machine.worker()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(DataDir, "write", full)
    assert waited(machine, switch) == 0
    assert "the workers cannot agree on a moment, and swap each alone" in caplog.text
