"""The watcher's thread and its source of file events; waits end at an event or a deadline."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from plugin_host.folder import notifier as notifier_module
from plugin_host.folder.notifier import FolderNotifier, is_available
from plugin_host.folder.watcher import BLIND_INTERVAL, Mode, OnWake, Watcher

NEVER = 3600.0
DEADLINE = 20.0

needs_watchdog = pytest.mark.skipif(
    not is_available() or sys.platform != "linux", reason="needs watchdog's inotify events"
)
needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no /proc")


class Looks:
    """An on_wake that counts, does what it is told, and can be waited for.

    The first look, for which whoever starts the watcher waits, is counted apart.
    """

    def __init__(self, *outcomes: float | BaseException | None) -> None:
        self.outcomes = list(outcomes)
        self.count = 0
        self.initial = 0
        self.changed = threading.Condition()

    def __call__(self, *, initial: bool = False) -> float | None:
        if initial:
            self.initial += 1
            return None
        with self.changed:
            self.count += 1
            self.changed.notify_all()
            outcome = self.outcomes.pop(0) if self.outcomes else None
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def wait_for(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.count >= count, DEADLINE)


class Events:
    """Takes hints and wakes from a notifier, and can be waited for."""

    def __init__(self) -> None:
        self.hints: list[tuple[str, str]] = []
        self.wakes = 0
        self.changed = threading.Condition()

    def hint(self, event: str, name: str) -> None:
        with self.changed:
            self.hints.append((event, name))
            self.changed.notify_all()

    def wake(self) -> None:
        with self.changed:
            self.wakes += 1
            self.changed.notify_all()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, DEADLINE), self.hints

    def clear(self) -> None:
        with self.changed:
            self.hints.clear()
            self.wakes = 0


def eventually(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    gc.collect()
    eventually(lambda: set(threading.enumerate()) <= before)


Make = Callable[..., Watcher]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Watcher] = []

    def make(
        on_wake: OnWake,
        interval: float = NEVER,
        mode: Mode = "poll",
        **more: Any,
    ) -> Watcher:
        watcher = Watcher(more.pop("directory", tmp_path), on_wake, interval, mode, **more)
        made.append(watcher)
        return watcher

    yield make
    for watcher in made:
        assert watcher.stop(DEADLINE)


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def notify(events: Events) -> Iterator[Callable[[Path], FolderNotifier]]:
    made: list[FolderNotifier] = []

    def notify(directory: Path, **more: Any) -> FolderNotifier:
        made.append(FolderNotifier(directory, events.hint, events.wake, **more))
        return made[-1]

    yield notify
    for notifier in made:
        notifier.close()


def test_thread_starts_lazily_and_once(make: Make) -> None:
    """No thread runs before the first ensure_started, and one after many."""
    looks = Looks()
    before = threading.active_count()
    watcher = make(looks)
    watcher.wake()
    assert (threading.active_count(), looks.count) == (before, 0)
    for _ in range(100):
        watcher.ensure_started()
    looks.wait_for(1)
    assert threading.active_count() == before + 1


def test_racing_starts_make_one_thread(make: Make) -> None:
    """Threads that start the watcher at the same time start it once."""
    watcher = make(Looks())
    barrier = threading.Barrier(8)

    def start() -> None:
        barrier.wait()
        watcher.ensure_started()

    starters = [threading.Thread(target=start) for _ in range(8)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    named = [t for t in threading.enumerate() if t.name.startswith("plugin-host-watcher-")]
    assert len(named) == 1


def test_wake_looks_at_once(make: Make) -> None:
    """A wake makes the thread look although its interval is far away."""
    looks = Looks()
    watcher = make(looks)
    watcher.ensure_started()
    for number in range(1, 4):
        looks.wait_for(number)
        watcher.wake()
    looks.wait_for(4)


def test_look_asks_for_the_next(make: Make) -> None:
    """The seconds that on_wake returns bring the next look forward."""
    looks = Looks(0.0, 0.02, 0.001)
    make(looks).ensure_started()
    looks.wait_for(4)


def test_interval_brings_the_next_look(make: Make) -> None:
    """Without any event the thread looks at its interval."""
    looks = Looks()
    make(looks, interval=0.01).ensure_started()
    looks.wait_for(5)


def test_exceptions_do_not_end_the_thread(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever on_wake raises is logged once per kind and counted, and the looks go on."""
    looks = Looks(ValueError("one"), ValueError("one"), SystemExit(3), None)
    watcher = make(looks)
    watcher.ensure_started()
    for number in range(1, 4):
        looks.wait_for(number)
        if number == 3:
            eventually(lambda: watcher.health()["looks"] == 4)
            assert watcher.health()["last_error"] == "SystemExit: 3"
        watcher.wake()
    looks.wait_for(4)
    eventually(lambda: watcher.health()["looks"] == 5)
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    health = watcher.health()
    assert (health["failures"], health["last_error"], health["alive"]) == (3, None, True)


def test_request_survives_without_a_thread(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """When no thread can be had, ensure_started raises nothing and tries again later."""

    def refuse(*args: Any, **more: Any) -> None:
        raise RuntimeError("can't start new thread")

    looks = Looks()
    watcher = make(looks)
    with monkeypatch.context() as patch:
        patch.setattr("plugin_host.osthread.start", refuse)
        watcher.ensure_started()
        assert watcher.health()["alive"] is False
        assert watcher.health()["last_error"] == "RuntimeError: can't start new thread"
    watcher.ensure_started()
    looks.wait_for(1)


def test_stop_is_final(make: Make) -> None:
    """A stopped watcher has no thread, and a late request does not start one."""
    looks = Looks()
    watcher = make(looks)
    watcher.ensure_started()
    looks.wait_for(1)
    before = looks.count
    assert watcher.stop(DEADLINE)
    assert watcher.health()["alive"] is False
    watcher.ensure_started()
    watcher.wake()
    assert watcher.stop(DEADLINE)
    assert looks.count == before


def test_stop_from_on_wake_does_not_block(make: Make) -> None:
    """on_wake may stop its own watcher: the thread ends when it returns."""
    results: list[bool] = []

    def stop(*, initial: bool = False) -> None:
        if not initial:
            results.append(watcher.stop(DEADLINE))

    watcher = make(stop)
    watcher.ensure_started()
    eventually(lambda: results and not watcher.health()["alive"])
    assert results == [False]


def test_first_requests_wait_for_the_first_look(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever starts the watcher, and who comes meanwhile, goes on when it has looked."""
    monkeypatch.setattr("plugin_host.folder.watcher.FIRST_LOOK", DEADLINE)
    looking, look_on = threading.Event(), threading.Event()
    seen: list[str] = []

    def look(*, initial: bool = False) -> None:
        if initial:
            watcher.ensure_started()  # as what is told of a change may do
            looking.set()
            assert look_on.wait(DEADLINE)
            seen.append("looked")

    def serve() -> None:
        watcher.ensure_started()
        seen.append("served")

    watcher = make(look)
    first = threading.Thread(target=serve, name="first")
    first.start()
    assert looking.wait(DEADLINE)
    second = threading.Thread(target=serve)
    second.start()
    assert seen == []
    look_on.set()
    for thread in (first, second):
        thread.join(DEADLINE)
    assert seen == ["looked", "served", "served"]


def test_first_requests_do_not_wait_for_ever(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first look that compiles for long holds requests up to the bound, and goes on."""
    monkeypatch.setattr("plugin_host.folder.watcher.FIRST_LOOK", 0.05)
    look_on, looked = threading.Event(), threading.Event()

    def look(*, initial: bool = False) -> None:
        if initial:
            assert look_on.wait(DEADLINE)
            looked.set()

    watcher = make(look)
    watcher.ensure_started()
    assert not looked.is_set()
    look_on.set()
    assert looked.wait(DEADLINE)


def test_failing_first_look_is_logged_and_the_thread_looks(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """A request does not fail because the first look does."""
    looks = Looks()

    def look(*, initial: bool = False) -> float | None:
        if initial:
            raise OSError("no disk")
        return looks()

    watcher = make(look)
    watcher.ensure_started()
    looks.wait_for(1)
    assert "reloading failed" in caplog.text
    assert watcher.health()["failures"] == 1


def test_forgotten_watcher_ends_its_thread(tmp_path: Path) -> None:
    """A watcher that nobody refers to is collected, and its thread ends."""
    looks = Looks()
    Watcher(tmp_path, looks, NEVER, "poll").ensure_started()
    looks.wait_for(1)

    def is_gone() -> bool:
        gc.collect()
        return not [t for t in threading.enumerate() if t.name.startswith("plugin-host-watcher-")]

    eventually(is_gone)


def test_health_is_plain_data(make: Make) -> None:
    """The health report says how changes are noticed, since when, and by which process."""
    looks = Looks()
    watcher = make(looks)
    watcher.ensure_started()
    eventually(lambda: watcher.health()["looks"] == 2)
    health = watcher.health()
    assert isinstance(health.pop("last_look"), float)
    assert health == {
        "mode": "poll",
        "alive": True,
        "pid": os.getpid(),
        "interval": NEVER,
        "looks": 2,
        "failures": 0,
        "last_error": None,
    }


@needs_watchdog
@needs_proc
@pytest.mark.parametrize("mode", ["auto", "watchdog", "poll"])
def test_stop_gives_everything_back(make: Make, mode: Mode) -> None:
    """Starting and stopping leaves no thread and no file descriptor."""
    for number in range(4):
        if number == 1:  # whatever the first use leaves open for good is not ours
            before = descriptors(), threading.active_count()
        looks = Looks()
        watcher = make(looks, mode=mode)
        watcher.ensure_started()
        looks.wait_for(1)
        assert watcher.stop(DEADLINE)
    eventually(lambda: (descriptors(), threading.active_count()) == before)


@needs_watchdog
def test_event_wakes_the_watcher(make: Make, tmp_path: Path) -> None:
    """A file put into the folder is looked at, long before the interval."""
    looks, hints = Looks(), Events()
    watcher = make(looks, mode="auto", on_event=hints.hint)
    watcher.ensure_started()
    looks.wait_for(1)
    assert watcher.health()["mode"] == "watchdog"
    (tmp_path / "a.wasm").write_bytes(b"A")
    hints.wait_for(lambda: ("closed", "a.wasm") in hints.hints)
    looks.wait_for(2)


@needs_watchdog
def test_blind_watcher_polls_faster(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When the system has no more inotify instances, polling takes over with one log line."""

    def refuse() -> None:
        raise OSError(24, "inotify instance limit reached")

    monkeypatch.setattr(notifier_module, "Observer", refuse)
    looks = Looks(*[0.0] * 5)
    watcher = make(looks, mode="auto")
    watcher.ensure_started()
    looks.wait_for(6)
    assert (watcher.health()["mode"], watcher.health()["interval"]) == ("poll", BLIND_INTERVAL)
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert "inotify instance limit reached" in caplog.text


def run(script: str) -> subprocess.CompletedProcess[str]:
    prelude = """
        import os, sys, threading, time
        from pathlib import Path
        folder = Path(sys.argv[1])
    """
    code = textwrap.dedent(prelude) + textwrap.dedent(script)
    return subprocess.run(
        [sys.executable, "-c", code, os.getcwd()], capture_output=True, text=True, timeout=60
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("mode", ["auto", "poll"])
def test_child_starts_its_own_thread(mode: str) -> None:
    """After a fork the child's next request starts a thread there; the parent's goes on."""
    done = run(f"""
        from plugin_host.folder.watcher import Watcher
        looked = threading.Event()
        first = []
        def look(initial=False):
            first.append(os.getpid()) if initial else looked.set()
        watcher = Watcher(folder, look, 3600.0, {mode!r})
        watcher.ensure_started()
        assert looked.wait(20)
        looked.clear()
        child = os.fork()
        assert watcher.health()["alive"] is (child != 0)
        watcher.ensure_started()
        assert first == ([os.getpid()] if child else [os.getppid(), os.getpid()])
        watcher.wake()
        assert looked.wait(20)
        assert watcher.health()["alive"] and watcher.health()["pid"] == os.getpid()
        assert watcher.stop(20)
        if child:
            assert os.waitpid(child, 0)[1] == 0
    """)
    assert done.returncode == 0, done.stderr


def test_a_look_is_over_before_the_process_ends() -> None:
    """A process that ends during a look waits for it: nothing is taken apart under its feet."""
    done = run("""
        import atexit
        from plugin_host.folder.watcher import Watcher
        looking = threading.Event()
        def look(initial=False):
            if not initial:
                looking.set()
                time.sleep(0.5)
                print("looked", flush=True)
        watcher = Watcher(folder, look, 3600.0, "poll")
        atexit.register(lambda: print("torn", flush=True))
        watcher.ensure_started()
        assert looking.wait(20)
    """)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["looked", "torn"]


def test_polls_in_a_real_thread_under_gevent() -> None:
    """With gevent's patching the watcher polls in a real thread, and greenlets are not blocked."""
    pytest.importorskip("gevent")
    done = run("""
        from gevent import monkey
        monkey.patch_all()
        import gevent, _thread
        from plugin_host.folder.watcher import Watcher
        idents, main = [], monkey.get_original("_thread", "get_ident")()
        def look(initial=False):
            initial or idents.append(monkey.get_original("_thread", "get_ident")())
        watcher = Watcher(folder, look, 1.0)
        watcher.ensure_started()
        with gevent.Timeout(20):
            while len(idents) < 3:
                gevent.sleep(0.01)
        assert main not in idents and len(set(idents)) == 1
        assert watcher.health()["mode"] == "poll" and watcher.health()["interval"] == 0.25
        assert watcher.stop(20) and not watcher.health()["alive"]
    """)
    assert done.returncode == 0, done.stderr


Notify = Callable[..., FolderNotifier]


@needs_watchdog
def test_events_tell_kind_and_name(notify: Notify, events: Events, tmp_path: Path) -> None:
    """Writes, closes and renames are told with the final name; each but a write wakes."""
    assert notify(tmp_path).ensure()
    (tmp_path / "new").write_bytes(b"A")
    events.wait_for(lambda: ("closed", "new") in events.hints and events.wakes >= 2)
    events.clear()
    os.replace(tmp_path / "new", tmp_path / "a.wasm")
    events.wait_for(lambda: events.hints == [("moved", "a.wasm")] and events.wakes >= 1)
    events.clear()
    with (tmp_path / "a.wasm").open("r+b") as file:
        file.write(b"B")
        file.flush()
        events.wait_for(lambda: events.hints == [("modified", "a.wasm")])
        assert events.wakes == 0
    events.wait_for(lambda: ("closed", "a.wasm") in events.hints and events.wakes == 1)


@needs_watchdog
def test_writes_wake_where_no_close_is_told(
    notify: Notify, events: Events, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a platform without close events only renames are hints, and every write wakes."""
    monkeypatch.setattr(notifier_module, "_TELLS_CLOSE", False)
    assert notify(tmp_path).ensure()
    with (tmp_path / "new").open("wb", buffering=0) as file:
        events.wait_for(lambda: events.wakes == 1)
        file.write(b"A")
        events.wait_for(lambda: events.wakes == 2)
        assert events.hints == []
        os.replace(tmp_path / "new", tmp_path / "a.wasm")
        events.wait_for(lambda: events.hints == [("moved", "a.wasm")])


@needs_watchdog
def test_reading_wakes_nobody(notify: Notify, events: Events, tmp_path: Path) -> None:
    """Opening, reading and closing a file causes no event."""
    (tmp_path / "a.wasm").write_bytes(b"A")
    assert notify(tmp_path).ensure()
    for _ in range(10):
        (tmp_path / "a.wasm").read_bytes()
        list(tmp_path.iterdir())
    (tmp_path / "last").mkdir()
    events.wait_for(lambda: events.wakes > 0)
    assert (events.hints, events.wakes) == ([], 1)


@needs_watchdog
def test_linked_folder_is_watched(notify: Notify, events: Events, tmp_path: Path) -> None:
    """A folder that is a symbolic link is watched where it points, also after the link moved."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    link = tmp_path / "link"
    link.symlink_to("one")
    notifier = notify(link)
    assert notifier.ensure()
    (tmp_path / "one" / "a.wasm").touch()
    events.wait_for(lambda: ("closed", "a.wasm") in events.hints)
    (tmp_path / "next").symlink_to("two")
    os.replace(tmp_path / "next", link)
    assert notifier.ensure()
    (tmp_path / "two" / "b.wasm").touch()
    events.wait_for(lambda: ("closed", "b.wasm") in events.hints)


@needs_watchdog
@pytest.mark.parametrize("way", ["renamed away", "removed"])
def test_replaced_folder_is_watched(
    notify: Notify, events: Events, tmp_path: Path, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    """A folder that was missing, or was replaced, is watched as soon as it is there."""
    folder = tmp_path / "plugins"
    notifier = notify(folder)
    assert [notifier.ensure(), notifier.ensure()] == [False, False]
    assert len(caplog.records) == 1
    folder.mkdir()
    assert notifier.ensure()
    if way == "removed":
        folder.rmdir()
    else:
        folder.rename(tmp_path / "old")
    folder.mkdir()  # may have the old one's inode; watchdog's thread ends soon
    names = (f"{number}.wasm" for number in count())

    def is_seen() -> bool:
        (folder / next(names)).touch()
        return notifier.ensure() and bool(events.hints)

    eventually(is_seen)


@needs_watchdog
def test_dead_emitter_is_replaced(notify: Notify, events: Events, tmp_path: Path) -> None:
    """When watchdog's own thread has ended, the next check starts another."""
    notifier = notify(tmp_path)
    assert notifier.ensure()
    (emitter,) = notifier._observer.emitters
    emitter.stop()
    emitter.join(DEADLINE)
    assert notifier.ensure()
    (tmp_path / "a.wasm").touch()
    events.wait_for(lambda: ("closed", "a.wasm") in events.hints)


@needs_watchdog
def test_refusal_is_retried_later(
    notify: Notify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the system refused, events are asked for again half a minute later, not before."""
    attempts = []

    def refuse() -> None:
        attempts.append(1)
        raise OSError(28, "inotify watch limit reached")

    now = 0.0
    notifier = notify(tmp_path, clock=lambda: now)
    with monkeypatch.context() as patch:
        patch.setattr(notifier_module, "Observer", refuse)
        assert not any([notifier.ensure(), notifier.ensure()])
        now = 29.0
        assert not notifier.ensure()
    assert len(attempts) == 1
    now = 31.0
    assert notifier.ensure()


@needs_watchdog
def test_failing_hint_does_not_end_the_events(tmp_path: Path) -> None:
    """An exception while an event is taken is logged, and the next event is taken."""
    events = Events()

    def hint(event: str, name: str) -> None:
        events.hint(event, name)
        raise ValueError(name)

    notifier = FolderNotifier(tmp_path, hint, events.wake)
    try:
        assert notifier.ensure()
        (tmp_path / "a.wasm").touch()
        events.wait_for(lambda: ("closed", "a.wasm") in events.hints)
        (tmp_path / "b.wasm").touch()
        events.wait_for(lambda: ("closed", "b.wasm") in events.hints)
    finally:
        notifier.close()
