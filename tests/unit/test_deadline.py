"""Deadlines: who is ended, who is not, and what the process pays for it."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from types import SimpleNamespace

import pytest

from plugin_host.errors import DeadlineExceeded, GuestTrap
from plugin_host.hostfunctions.services import time_left
from plugin_host.wasm import deadline
from plugin_host.wasm.deadline import IDLE_AFTER, LEAD, Watchdog
from plugin_host.wasm.engine import Engine, wat_to_wasm
from plugin_host.wasm.haste import INTERVAL, Haste
from plugin_host.wasm.instance import HostFunction, Instance, Limits, Linked
from plugin_host.wasm.runtime import choose_engine, link

PATH = Path("guest.wat")
#: Seconds within which something must become so; only a failing test waits as long.
PATIENCE = 30.0
SPIN = """(module (memory (export "memory") 1)
    (func (export "spin") (param i32) (result i64)
      (loop (br_if 0 (i32.eqz (i32.load8_u (i32.const 0))))) (i64.const 7)))"""
#: Computes for a while, then calls the host once more.
WAITS = """(module (import "m" "wait" (func $wait))
    (func (export "once") (param i32) (result i64) (call $wait) (i64.const 7))
    (func (export "then_spin") (param i32) (result i64)
      (call $wait) (loop (br 0)) (i64.const 7)))"""


@pytest.fixture
def chosen(fast_call: bool) -> Engine:
    return choose_engine(fast_call)


def linked(chosen: Engine, text: str, *functions: HostFunction) -> Linked:
    module = chosen.compile(wat_to_wasm(text.encode(), PATH), PATH)
    return link(chosen, module, functions, PATH)


def start(guest: Linked) -> Instance:
    return guest.instance(Limits(), monotonic(), 5.0)


def call(instance: Instance, name: str = "spin", timeout: float = 5.0) -> int:
    return instance.function(name)(0, monotonic(), timeout)


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Threads that do nothing but Python."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            sum(range(100))

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def until(true: Callable[[], bool]) -> None:
    """Wait for something."""
    end = monotonic() + PATIENCE
    while not true():
        assert monotonic() < end
        sleep(0.001)


def test_endless_calls_end_also_when_the_watchdog_was_short_of_memory(
    chosen: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread looks again; without it nothing would ever end a guest."""
    watchdog, instance = chosen.watchdog, start(linked(chosen, SPIN))
    survey, failures = watchdog._survey, [MemoryError()] * 5

    def short(now: float, late: bool) -> tuple[float, float, bool, bool]:
        if failures:
            raise failures.pop()
        return survey(now, late)

    monkeypatch.setattr(watchdog, "_survey", short)
    with pytest.raises(DeadlineExceeded):
        call(instance, timeout=0.05)
    assert not failures


@pytest.mark.parametrize("threads", [0, 2])
def test_no_call_ends_before_its_deadline_and_every_endless_one_ends(
    chosen: Engine, threads: int
) -> None:
    """Deadlines of 5, 50 and 200 ms side by side each end their own call, and none early."""
    guest = linked(chosen, SPIN)
    early: list[float] = []
    ended: list[float] = []

    def run(timeout: float) -> None:
        for _ in range(3):
            instance, begin = start(guest), monotonic()
            with pytest.raises(DeadlineExceeded) as caught:
                instance.function("spin")(0, begin, timeout)
            ended.append(caught.value.timeout)
            if monotonic() < begin + timeout:
                early.append(timeout)

    with busy(threads):
        calls = [threading.Thread(target=run, args=(t,)) for t in (0.005, 0.05, 0.2)]
        for thread in calls:
            thread.start()
        for thread in calls:
            thread.join(PATIENCE)
    assert (sorted(ended), early) == ([0.005] * 3 + [0.05] * 3 + [0.2] * 3, [])


def test_a_neighbours_many_deadlines_do_not_end_a_long_call(chosen: Engine) -> None:
    """A call with a long deadline goes on while fifty short ones pass beside it."""
    guest = linked(chosen, SPIN)
    patient, answers = start(guest), []
    thread = threading.Thread(target=lambda: answers.append(call(patient, timeout=60)))
    thread.start()
    for _ in range(50):
        with pytest.raises(DeadlineExceeded):
            call(start(guest), timeout=0.004)
    patient.write(0, b"\1")
    thread.join(PATIENCE)
    assert answers == [7]


def test_quick_calls_are_never_blamed_beside_busy_threads(chosen: Engine) -> None:
    """On a busy machine, beside calls that miss their deadlines, no quick call fails."""
    guest = linked(chosen, SPIN)
    late: list[BaseException] = []
    done = threading.Event()

    def overrun() -> None:
        while not done.is_set():
            with pytest.raises(DeadlineExceeded):
                call(start(guest), timeout=0.004)

    def quick() -> None:
        instance = start(guest)
        instance.write(0, b"\1")  # the loop ends at once
        for _ in range(200):
            try:
                call(instance, timeout=0.05 if chosen.fast else 1.0)
            except DeadlineExceeded as exc:
                late.append(exc)
                return

    with busy(2):
        spinning = threading.Thread(target=overrun)
        calls = [threading.Thread(target=quick) for _ in range(2)]
        for thread in (spinning, *calls):
            thread.start()
        for thread in calls:
            thread.join(PATIENCE)
        done.set()
        spinning.join(PATIENCE)
    assert late == []


def _waiting(check: bool) -> HostFunction:
    def wait(instance: Instance) -> None:
        until(lambda: monotonic() > instance.deadline)
        if check:
            time_left(instance)

    return HostFunction("m", "wait", (), (), wait)


def test_a_host_function_that_overruns_ends_the_call_when_it_returns(chosen: Engine) -> None:
    """A host function that waits past the deadline ends the call, with the call's own time."""
    guest = start(linked(chosen, WAITS, _waiting(True)))
    with pytest.raises(DeadlineExceeded, match="missed its deadline of 20 ms"):
        call(guest, "once", 0.02)


def test_time_in_host_functions_counts(chosen: Engine) -> None:
    """A guest that computes on after a host function has used up its time is ended."""
    guest = start(linked(chosen, WAITS, _waiting(False)))
    with pytest.raises(DeadlineExceeded):
        call(guest, "then_spin", 0.02)


def test_the_watchdog_sleeps_without_calls(chosen: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A while after the last call the thread ends and nothing ticks; the next call starts it."""
    monkeypatch.setattr(deadline, "IDLE_AFTER", 0.02)
    assert IDLE_AFTER > 0.02
    watchdog, guest = chosen.watchdog, linked(chosen, SPIN).instance(Limits(), monotonic(), 0.5)
    guest.write(0, b"\1")
    assert call(guest, timeout=0.5) == 7
    until(lambda: watchdog._thread is None)
    ticks = watchdog.ticks
    assert watchdog.next_look == math.inf
    assert call(guest, timeout=0.5) == 7
    assert watchdog._thread is not None
    if chosen.fast:  # the public API needs ticks while a call is under way
        assert watchdog.ticks == ticks


def test_haste_is_over_when_the_late_call_is(chosen: Engine) -> None:
    """Threads take turns quickly while a call is late, and as before afterwards."""
    usual, guest = sys.getswitchinterval(), linked(chosen, SPIN)
    seen: list[float] = []
    with pytest.raises(DeadlineExceeded):
        call(start(guest), timeout=0.02)
    seen.append(sys.getswitchinterval())
    until(lambda: sys.getswitchinterval() == usual)
    assert seen[0] in (usual, pytest.approx(INTERVAL))


class Weak(SimpleNamespace):
    """What a watchdog can watch."""


def watching(running: float, deadline: float) -> tuple[Watchdog, Weak]:
    """A watchdog without a thread, and the call that it watches."""
    watchdog = Watchdog(lambda: None)
    item = Weak(running=running, deadline=deadline, expired=False)
    watchdog.watch(item)
    return watchdog, item


@pytest.mark.parametrize(
    ("now", "tick", "near", "look"),
    [
        (100.0, False, False, 101.0 - LEAD),
        (101.0 - LEAD, True, True, 101.0),
        (101.5, True, True, 101.0),
    ],
)
def test_a_call_is_asked_before_its_deadline_and_ended_after(
    now: float, tick: bool, near: bool, look: float
) -> None:
    """Ticks come when a deadline is near and when it has passed, and not before."""
    watchdog, item = watching(running=100.0, deadline=101.0)
    watchdog._looked = now - 0.001
    assert watchdog._survey(now, late=False) == (101.0, look, near, tick)
    item.expired = True  # being ended already: neighbours need not be asked, too
    assert watchdog._survey(now, late=False) == (101.0, look, near, False)


def test_a_short_call_is_left_alone_for_half_its_time() -> None:
    """Calls that end within half their time cost the process no haste and no tick."""
    watchdog, item = watching(running=100.0, deadline=100.01)
    watchdog._looked = 99.0
    assert watchdog._survey(100.004, late=False)[2:] == (False, False)
    assert watchdog._survey(100.006, late=False)[2:] == (True, True)
    item.running = 0.0
    assert watchdog._survey(100.02, late=False) == (100.01, math.inf, False, False)


def test_a_look_that_waited_for_the_lock_hurries_at_once() -> None:
    """Beside busy threads the haste begins with the first look, if any call is under way."""
    watchdog, item = watching(running=100.0, deadline=101.0)
    assert watchdog._survey(100.004, late=True)[2:] == (True, False)
    item.running = 0.0
    assert watchdog._survey(100.005, late=True)[2:] == (False, False)


def test_a_late_watchdog_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it has looked, so that it gets the GIL."""
    monkeypatch.setattr(deadline, "YIELD", PATIENCE)
    watchdog, waits = Watchdog(lambda: None), threading.Event()
    watchdog.late_at = 0.0

    def nap(_seconds: float) -> None:
        waits.set()
        sleep(0.0001)

    monkeypatch.setattr(deadline.osthread, "sleep", nap)

    def look() -> None:
        assert waits.wait(PATIENCE)
        watchdog.late_at = math.inf

    thread = threading.Thread(target=look)
    thread.start()
    watchdog.give_way()
    thread.join()
    assert watchdog.late_at == math.inf


def test_a_watchdog_that_does_not_come_is_not_waited_for_again_at_once() -> None:
    """Threads that hold the GIL are in its way, and not the calls."""
    watchdog, before = Watchdog(lambda: None), monotonic()
    watchdog.late_at = 0.0
    watchdog.give_way()
    assert watchdog.late_at >= before + 2 * deadline.YIELD


def test_a_call_gives_a_late_watchdog_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, and not while it is in time."""
    chosen = choose_engine(True)
    guest, watchdog = start(linked(chosen, SPIN)), chosen.watchdog
    guest.write(0, b"\1")
    ways: list[float] = []

    def give_way() -> None:
        ways.append(watchdog.late_at)
        watchdog.late_at = math.inf

    monkeypatch.setattr(watchdog, "give_way", give_way)
    until(lambda: watchdog.rest() or watchdog._thread is None)
    assert (call(guest), ways) == (7, [])
    until(lambda: watchdog.rest() or watchdog._thread is None)
    watchdog.late_at = 0.0
    assert (call(guest), ways) == (7, [0.0])


def test_haste_ends_with_the_last_who_is_in_a_hurry() -> None:
    """The interval is lowered by the first and put back after the last."""
    usual, mine = sys.getswitchinterval(), Haste()
    for who, hurry in (("a", True), ("b", True), ("a", False), ("a", False)):
        mine.set(who, hurry)
        assert sys.getswitchinterval() == pytest.approx(INTERVAL)
    mine.set("b", False)
    assert sys.getswitchinterval() == usual


def test_an_interval_of_the_apps_own_is_kept() -> None:
    """A lower interval is left alone, and one that is set meanwhile is not put back."""
    usual, mine = sys.getswitchinterval(), Haste()
    try:
        sys.setswitchinterval(INTERVAL / 5)
        mine.set("a", True)
        assert sys.getswitchinterval() == pytest.approx(INTERVAL / 5)
        mine.set("a", False)
        assert sys.getswitchinterval() == pytest.approx(INTERVAL / 5)
        sys.setswitchinterval(usual)
        mine.set("a", True)
        sys.setswitchinterval(usual * 2)
        mine.set("a", False)
        assert sys.getswitchinterval() == pytest.approx(usual * 2)
    finally:
        sys.setswitchinterval(usual)


def test_a_call_that_begins_while_the_watchdog_goes_to_rest_is_ended_too(
    chosen: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From when it is told of a call until that ends it does not rest, whatever comes between."""
    guest, watchdog = start(linked(chosen, SPIN)), chosen.watchdog
    watchdog.rest()
    look_by = watchdog.look_by

    def interrupted(deadline: float) -> None:
        look_by(deadline)
        watchdog._resting = True  # as another thread's `rest` says, before the guest is entered
        watchdog._ring()
        sleep(0.1)

    monkeypatch.setattr(watchdog, "look_by", interrupted)
    escape = threading.Timer(5.0, guest.write, (0, b"\1"))
    escape.start()
    try:
        with pytest.raises(DeadlineExceeded):
            call(guest, timeout=0.2)
    finally:
        escape.cancel()
        escape.join()
    assert guest.running == 0.0


_FORK = """
import os, sys, time
from pathlib import Path
from plugin_host.errors import DeadlineExceeded
from plugin_host.wasm.engine import wat_to_wasm
from plugin_host.wasm.haste import haste
from plugin_host.wasm.instance import Limits
from plugin_host.wasm.runtime import choose_engine, link, rest

chosen = choose_engine({fast})
wasm = wat_to_wasm(b'(module (func (export "spin") (loop (br 0))))', Path("s"))
module = chosen.compile(wasm, Path("s"))
linked = link(chosen, module, (), Path("s"))

def overrun():
    try:
        linked.instance(Limits(), time.monotonic(), 5.0).function("spin")(0, time.monotonic(), 0.02)
    except DeadlineExceeded:
        return True

usual = sys.getswitchinterval()
assert overrun()
rest()
haste.set("a thread that the child does not have", True)
child = os.fork()
if child == 0:
    os._exit(0 if overrun() and haste._who <= {{chosen.watchdog}} else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert overrun()
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("gevent", [False, pytest.param(True, marks=pytest.mark.gevent)])
def test_deadlines_hold_before_and_after_a_fork(fast_call: bool, gevent: bool) -> None:
    """Parent and child both end their calls, also in the main thread under gevent."""
    patch = "from gevent import monkey; monkey.patch_all()\n" if gevent else ""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", patch + _FORK.format(fast=fast_call)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (ran.stdout, ran.stderr) == ("done\n", "")


RECURSION = """(module (func $f (export "f") (param i32) (result i64)
    (call $f (local.get 0))))"""


def _in_thread(work: Callable[[], None], stack: int) -> None:
    before = threading.stack_size(stack)
    try:
        thread = threading.Thread(target=work)
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join(PATIENCE)


@pytest.mark.parametrize("stack", [0, 768 << 10], ids=["default", "768 KiB"])
def test_recursion_traps_in_threads(chosen: Engine, stack: int) -> None:
    """A guest has half a MiB of stack, also in threads with the smallest stack that is allowed."""
    codes: list[str] = []

    def work() -> None:
        for _ in range(3):
            with pytest.raises(GuestTrap) as caught:
                call(start(linked(chosen, RECURSION)), "f")
            codes.append(caught.value.code)

    _in_thread(work, stack)
    work()
    assert codes == ["stack_overflow"] * 6


@pytest.mark.gevent
def test_recursion_traps_in_greenlets(chosen: Engine) -> None:
    """A greenlet runs on its thread's stack, and so does a guest that it calls."""
    greenlet = pytest.importorskip("greenlet")
    guest, codes = linked(chosen, RECURSION), []

    def work() -> None:
        with pytest.raises(GuestTrap) as caught:
            call(start(guest), "f")
        codes.append(caught.value.code)

    for _ in range(3):
        greenlet.greenlet(work).switch()
    assert codes == ["stack_overflow"] * 3
