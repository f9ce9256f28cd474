"""Beacons: each living worker is seen, and no dead one, however it died."""

from __future__ import annotations

import errno
import gc
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plugin_host.files import locking
from plugin_host.machine import fleet as module
from plugin_host.machine.datadir import DataDir, DataDirError
from plugin_host.machine.fleet import Beacon, WorkerState, fleet, process_start

SOON = 20.0

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and flock")
needs_proc = pytest.mark.skipif(process_start(os.getpid()) is None, reason="needs /proc")

SETUP = """
import os, signal, sys
from pathlib import Path
from plugin_host.machine.datadir import DataDir
from plugin_host.machine.fleet import Beacon
beacon = Beacon(DataDir.open(Path(sys.argv[1])))
def say(*words):
    print(*words, flush=True)
"""


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    return DataDir.open(tmp_path / "plugin_host")


@pytest.fixture
def beacon(data: DataDir) -> Iterator[Beacon]:
    beacon = Beacon(data)
    yield beacon
    beacon.close()


Start = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def start(data: DataDir) -> Iterator[Start]:
    """Start processes that run a script with a beacon and talk on their standard streams."""
    processes: list[subprocess.Popen[str]] = []

    def run(code: str) -> subprocess.Popen[str]:
        args = [sys.executable, "-c", SETUP + code, str(data.path)]
        pipe = subprocess.PIPE
        processes.append(subprocess.Popen(args, stdin=pipe, stdout=pipe, text=True))
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        with process:  # closes its streams, so that orphans end
            pass


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def files(data: DataDir) -> list[str]:
    return sorted(os.listdir(data.path / "workers"))


def statuses(data: DataDir) -> list[dict[str, Any]]:
    return [state.status for state in fleet(data)]


def leave(data: DataDir, stem: str, **document: Any) -> None:
    """Put what a dead worker may have left there."""
    head = {"pid": 1, "started": "x", "since": 1.0, "published_at": 1.0, "locked": True}
    path = data.path / "workers" / f"{stem}.json"
    path.write_text(json.dumps({**head, "status": {"left": stem}, **document}))


def test_a_worker_is_seen(data: DataDir) -> None:
    """What a worker publishes is seen as it last was, with its times, until it is closed."""
    times = iter([10.0, 11.0, 12.0])
    beacon = Beacon(data, lambda: next(times))
    assert (fleet(data), files(data)) == ([], [])
    assert beacon.publish({"generation": 1})
    assert fleet(data) == [WorkerState(os.getpid(), 10.0, 11.0, {"generation": 1})]
    assert beacon.publish({"generation": 2})
    assert fleet(data) == [WorkerState(os.getpid(), 10.0, 12.0, {"generation": 2})]
    beacon.close()
    assert (fleet(data), files(data)) == ([], [])


def test_a_closed_beacon_stays_closed(data: DataDir, beacon: Beacon) -> None:
    """After close nothing is published any more; closing twice is closing once."""
    beacon.publish({})
    beacon.close()
    beacon.close()
    assert not beacon.publish({})
    assert files(data) == []


def test_a_forgotten_beacon_disappears(data: DataDir) -> None:
    """A beacon to which nobody refers any more takes its files with it."""
    Beacon(data).publish({})
    gc.collect()
    assert files(data) == []


def test_any_status_can_be_published(data: DataDir, beacon: Beacon) -> None:
    """File names that are not Unicode come through, and what is no JSON becomes text."""
    assert beacon.publish({"file": "caf\udce9.wasm", "dir": Path("/plugins"), "é": [1.5, None]})
    assert statuses(data) == [{"file": "caf\udce9.wasm", "dir": "/plugins", "é": [1.5, None]}]


def test_several_workers_are_seen_in_order(data: DataDir) -> None:
    """Workers are listed from the oldest on."""
    beacons = [Beacon(data, lambda at=at: at) for at in (3.0, 1.0, 2.0)]  # type: ignore[misc]
    for number, beacon in enumerate(beacons):
        beacon.publish({"number": number})
    assert [state["number"] for state in statuses(data)] == [1, 2, 0]
    for beacon in beacons:
        beacon.close()


@needs_fork
def test_a_killed_worker_is_gone_at_once(data: DataDir, start: Start) -> None:
    """A worker that was killed is not seen any more, and its files are removed by who looks."""
    process = start("beacon.publish({'ready': 1}); say('up'); sys.stdin.read()")
    assert line(process) == "up"
    assert [(s.pid, s.status) for s in fleet(data)] == [(process.pid, {"ready": 1})]
    process.kill()
    process.wait(SOON)
    assert len(files(data)) == 2
    assert (fleet(data), files(data)) == ([], [])


@pytest.mark.parametrize("end", ["pass", "sys.exit(3)", "raise KeyboardInterrupt"])
def test_a_worker_that_ends_leaves_nothing(data: DataDir, start: Start, end: str) -> None:
    """However a worker's Python ends, it takes its own files with it."""
    process = start(f"sys.stderr = open(os.devnull, 'w'); beacon.publish({{}}); {end}")
    process.wait(SOON)
    assert files(data) == []


FORKED = """
beacon.publish({"who": "parent"})
ours, theirs = os.pipe()
pid = os.fork()
if not pid:
    os.close(theirs)
    CHILD
    say("child", os.getpid())
    os.read(ours, 1)
    sys.exit()
os.close(ours)
sys.stdin.readline()
os.close(theirs)
os.waitpid(pid, 0)
say("child ended")
sys.stdin.read()
"""


@needs_fork
def test_a_forked_child_has_its_own_beacon(data: DataDir, start: Start) -> None:
    """A child that publishes is seen besides its parent, and its end takes only its own away."""
    process = start(FORKED.replace("CHILD", "beacon.publish({'who': 'child'})"))
    child = int(line(process).split()[1])
    expected = [(process.pid, {"who": "parent"}), (child, {"who": "child"})]
    assert [(state.pid, state.status) for state in fleet(data)] == expected
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert line(process) == "child ended"
    assert statuses(data) == [{"who": "parent"}]
    assert len(files(data)) == 2


@needs_fork
def test_a_child_outlives_its_parent(data: DataDir, start: Start) -> None:
    """When a parent is killed its child stays in sight, and only the parent disappears."""
    process = start(
        """
beacon.publish({"who": "parent"})
if not os.fork():
    beacon.publish({"who": "child"})
    say("published")
    sys.stdin.read()
    os._exit(0)
signal.pause()
"""
    )
    assert line(process) == "published"
    assert statuses(data) == [{"who": "parent"}, {"who": "child"}]
    process.kill()
    process.wait(SOON)
    assert statuses(data) == [{"who": "child"}]


@needs_fork
def test_a_silent_child_does_not_keep_its_parent(data: DataDir, start: Start) -> None:
    """A killed parent is gone, although a child that never published lives on."""
    process = start(
        """
beacon.publish({"who": "parent"})
if not os.fork():
    say("forked")
    sys.stdin.read()
    os._exit(0)
signal.pause()
"""
    )
    assert line(process) == "forked"
    assert statuses(data) == [{"who": "parent"}]
    process.kill()
    process.wait(SOON)
    assert fleet(data) == []


@needs_fork
def test_a_fork_that_python_did_not_see_is_noticed(
    data: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process's number makes a beacon anew; the first one's files stay its own."""
    beacon = Beacon(data)
    beacon.publish({"who": "parent"})
    mine = files(data)
    pid = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: pid + 1)
    beacon.publish({"who": "child"})
    assert set(mine) < set(files(data))
    assert {"who": "child"} in statuses(data)
    beacon.close()


def test_a_removed_directory_is_made_again(data: DataDir, beacon: Beacon) -> None:
    """Whoever removes the files of living workers hides them only until they publish again."""
    beacon.publish({"n": 1})
    shutil.rmtree(data.path)
    assert fleet(data) == []
    assert beacon.publish({"n": 2})
    assert statuses(data) == [{"n": 2}]
    for name in files(data):
        if name.endswith(".lock"):
            os.unlink(data.path / "workers" / name)
    assert fleet(data) == []
    assert beacon.publish({"n": 3})
    assert statuses(data) == [{"n": 3}]
    assert len(files(data)) == 2


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"pid": 1}', b'{"pid": "1", "status": {}}'],
)
def test_a_damaged_state_is_left_out(data: DataDir, beacon: Beacon, content: bytes) -> None:
    """A living worker whose state cannot be understood is left out until it publishes again."""
    beacon.publish({"n": 1})
    [state] = (name for name in files(data) if name.endswith(".json"))
    (data.path / "workers" / state).write_bytes(content)
    assert (fleet(data), len(files(data))) == ([], 2)
    beacon.publish({"n": 2})
    assert statuses(data) == [{"n": 2}]


def test_leftovers_are_swept(data: DataDir, beacon: Beacon) -> None:
    """What dead workers left is removed, whole or not; other files are not."""
    workers = data.path / "workers"
    leave(data, "1-a")
    leave(data, "1-b")
    for name in ("1-b.lock", "1-c.lock", "notes.txt"):
        (workers / name).write_text("")
    beacon.publish({"n": 1})
    assert statuses(data) == [{"n": 1}]
    assert [name for name in files(data) if not name.startswith(f"{os.getpid()}-")] == ["notes.txt"]


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="uses links")
def test_links_are_not_followed(data: DataDir, beacon: Beacon, tmp_path: Path) -> None:
    """Whose data directory it is, root that looks there must not open what that user likes."""
    assert beacon.publish({})
    for path in (data.path / "workers").iterdir():
        os.rename(path, tmp_path / path.name)
        target = tmp_path / path.name
        if path.suffix == ".lock":
            path.symlink_to(target)
        else:
            shutil.copy(target, path)
    assert fleet(data) == []


def test_a_folder_that_is_not_private_is_told(data: DataDir) -> None:
    """Listing the workers of a directory where others can write raises, with the remedy."""
    (data.path / "workers").chmod(0o777)
    with pytest.raises(DataDirError, match="can be written by other users"):
        fleet(data)


def test_an_unusable_directory_is_told_once(
    data: DataDir, beacon: Beacon, caplog: pytest.LogCaptureFixture
) -> None:
    """A state that cannot be published is one log line, not an error; it recovers by itself."""
    (data.path / "workers").rmdir()
    (data.path / "workers").write_text("")
    assert [beacon.publish({}), beacon.publish({})] == [False, False]
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert "this worker's state cannot be published" in caplog.records[0].getMessage()
    (data.path / "workers").unlink()
    assert beacon.publish({})


def test_a_full_disk_keeps_the_last_state(
    data: DataDir, beacon: Beacon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a state cannot be written the one before stays to be seen."""

    def refuse(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    assert beacon.publish({"n": 1})
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        assert not beacon.publish({"n": 2})
    assert (statuses(data), len(files(data))) == ([{"n": 1}], 2)


@needs_proc
def test_without_locks_the_process_is_asked(
    data: DataDir, beacon: Beacon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without locks a worker lives while its process, and not a later one, has its number."""
    monkeypatch.setattr(locking, "fcntl", None)
    beacon.publish({"n": 1})
    started = process_start(os.getpid())
    leave(data, "a", pid=os.getpid(), started=f"{started}0", locked=False)
    leave(data, "b", pid=0, started=None, locked=False)
    leave(data, "c", pid=os.getpid(), started=started, locked=False)
    leave(data, "d", pid=os.getpid(), started=started, locked=True)
    assert statuses(data) == [{"left": "c"}, {"n": 1}]
    assert len(files(data)) == 2


@pytest.mark.skipif(os.name != "posix", reason="asks by signal 0")
def test_without_proc_the_number_is_asked(
    data: DataDir, monkeypatch: pytest.MonkeyPatch, start: Start
) -> None:
    """Where a process's start cannot be known, its number has to do."""
    ended = start("")
    ended.wait(SOON)
    monkeypatch.setattr(os.path, "isdir", lambda path: False)
    leave(data, "a", pid=ended.pid, locked=False)
    leave(data, "b", pid=os.getpid(), locked=False)
    leave(data, "c", pid=1, locked=False)
    assert sorted(state["left"] for state in statuses(data)) == ["b", "c"]


def test_without_anything_to_ask_the_time_decides(
    data: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where neither locks nor processes can be asked, a state that is a minute old is dead."""
    monkeypatch.setattr(module.os, "name", "nt")  # type: ignore[attr-defined]
    monkeypatch.setattr(module.os.path, "isdir", lambda path: False)  # type: ignore[attr-defined]
    leave(data, "old", published_at=100.0, locked=False)
    leave(data, "new", published_at=141.0, locked=False)
    states = [module._look(data.path / "workers", stem, lambda: 200.0) for stem in ("old", "new")]
    monkeypatch.undo()
    assert [state and state.status for state in states] == [None, {"left": "new"}]
    assert files(data) == ["new.json"]


@needs_fork
def test_locks_that_fail_for_a_moment_kill_nobody(
    data: DataDir, beacon: Beacon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the system has no lock left, a living worker's files are left alone."""
    beacon.publish({"n": 1})
    with monkeypatch.context() as patch:
        patch.setattr(module, "try_lock", lambda fd, shared: None)
        assert fleet(data) == []
    assert statuses(data) == [{"n": 1}]


@needs_fork
def test_hammer_many_who_look_see_the_same(data: DataDir, start: Start) -> None:
    """While several processes look at once, a living worker is always seen and a dead one never."""
    living = start("beacon.publish({'n': 'living'}); say('up'); sys.stdin.read()")
    assert line(living) == "up"
    wrong: list[list[dict[str, Any]]] = []
    deadline = time.monotonic() + SOON

    def look() -> None:
        for _ in range(100):
            found = statuses(data)
            if found != [{"n": "living"}]:
                wrong.append(found)
            if time.monotonic() > deadline:
                wrong.append([{"late": True}])
                return

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(100):
        leave(data, f"1-{number}")
        (data.path / "workers" / f"2-{number}.lock").write_text("")
        leave(data, f"2-{number}")
    for thread in threads:
        thread.join()
    assert wrong == []
