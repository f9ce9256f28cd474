"""Workers killed in the middle of what they do, full disks, data that vanishes."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import guests
import pytest
from deploying import until
from guests import MakeApp

from plugin_host.host.host import Host
from plugin_host.machine.control import disable, enable
from plugin_host.machine.controlfile import ControlFile
from plugin_host.machine.datadir import DataDir
from plugin_host.machine.fleet import fleet

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="kills and limits of POSIX"),
]

#: A worker: does what it is told, line by line, and answers with one line each.
WORKER = """
    import json, logging, os, sys, time
    from pathlib import Path
    from flask import Flask
    from plugin_host import PluginHost
    from plugin_host.machine.control import disable
    from plugin_host.wasm.engine import Engine

    folder, data, switch = sys.argv[1:]
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    app = Flask("shop")
    app.config.update(
        PLUGIN_HOST_DIR=folder, PLUGIN_HOST_DATA_DIR=data, PLUGIN_HOST_POLL_INTERVAL=0.05,
        PLUGIN_HOST_SWITCH=switch, PLUGIN_HOST_SWITCH_TIMEOUT=60,
    )
    plugins = PluginHost(app)
    host = app.extensions["plugin_host"]
    app.add_url_rule("/", view_func=lambda: "ok")

    def say(word):
        print(word, flush=True)

    def stay():
        say("there")
        while True:
            time.sleep(1)

    def stop_in_compile():
        real = Engine.compile
        def compile(*args):
            say("there")
            while True:  # so that it is in the middle of it, whenever it is killed
                real(*args)
        Engine.compile = compile

    def stop_at_write(pattern, moment):
        real = os.replace
        def replace(source, target):
            if not Path(target).match(pattern):
                return real(source, target)
            if moment == "before":
                os.truncate(source, os.stat(source).st_size // 2)
            else:
                real(source, target)
            stay()
        os.replace = replace

    def fill():
        with open(f"{data}/filled", "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1024))
            except OSError:
                pass

    def control():
        try:
            host.depot.control.update(lambda control: disable(control, "other"))
            return "done"
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    def files():
        return [str(path.relative_to(data)) for path in Path(data).rglob("*")]

    def ask():
        return app.test_client().get("/").headers.get("x-version")

    say("ready")
    for line in sys.stdin:
        say("= " + json.dumps(eval(line)))
"""


class Worker:
    """A process that serves the folder's plugins."""

    def __init__(self, root: Path, switch: str, *wrapped: str) -> None:
        self.log = root / f"log-{len(list(root.glob('log-*')))}"
        script = [sys.executable, "-c", textwrap.dedent(WORKER)]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*wrapped, *script, root / "plugins", root / "data", switch],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )

    def hear(self, beginning: str) -> str:
        """Wait for a line that begins like this; return the rest of it."""
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            if line.startswith(beginning):
                return line.removeprefix(beginning)
        raise AssertionError(self.log.read_text())

    def tell(self, code: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(code + "\n")
        self.process.stdin.flush()

    def does(self, code: str) -> Any:
        """The value of an expression in that process."""
        self.tell(code)
        return json.loads(self.hear("= "))

    def served(self) -> str | None:
        answer: str | None = self.does("ask()")
        return answer

    def kill(self) -> None:
        """As the kernel does it when memory runs out."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.communicate()

    def logged(self) -> list[str]:
        lines = self.log.read_text().splitlines()
        return [line for line in lines if not line.startswith("INFO")]


Start = Callable[..., Worker]


@pytest.fixture
def start(tmp_path: Path, folder: Path) -> Iterator[Start]:
    """Start a worker with the plugins ``v`` and ``other``; it has served one request."""
    running: list[Worker] = []
    put(folder, "1")
    (folder / "other.wat").write_text(guests.adding("x-other", "1"))

    def begin(switch: str = "each", *wrapped: str) -> Worker:
        running.append(Worker(tmp_path, switch, *wrapped))
        running[-1].hear("ready")
        running[-1].served()
        return running[-1]

    yield begin
    for worker in running:
        worker.kill()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def put(folder: Path, version: str) -> None:
    draft = folder / ".v.wat"
    draft.write_text(guests.adding("x-version", version))
    draft.rename(folder / "v.wat")


def leftovers(data: Path) -> list[Path]:
    return [path for path in data.rglob("*") if path.name.endswith(".tmp")]


def states(data: Path) -> set[tuple[int, str]]:
    """Process and version of each worker that lives."""
    return {
        (worker.pid, plugin["digest"])
        for worker in fleet(DataDir.open(data))
        for plugin in worker.status["plugins"]
        if plugin["name"] == "v"
    }


def assert_goes_on(start: Start, survivor: Worker, folder: Path, data: Path, version: str) -> None:
    """A survivor and a worker that starts serve, agree, load anew, and clean up."""
    fresh = start()
    for worker in (survivor, fresh):
        until(lambda worker=worker: worker.served() == version)
    until(lambda: {pid for pid, _ in states(data)} == {w.process.pid for w in (survivor, fresh)})
    until(lambda: len({digest for _, digest in states(data)}) == 1)
    put(folder, "9")
    for worker in (survivor, fresh):
        until(lambda worker=worker: worker.served() == "9")
        assert [line for line in worker.logged() if line.startswith("ERROR")] == []
    for worker in (survivor, fresh):
        worker.kill()  # or a file that one of them is writing would look like one left behind
    for path in leftovers(data):
        os.utime(path, (0, 0))
    DataDir.open(data)
    assert leftovers(data) == []


BEFORE_AND_AFTER = pytest.mark.parametrize("moment", ["before", "after"])


@pytest.mark.parametrize(
    "stop",
    [
        "stop_in_compile()",
        *(
            f"stop_at_write({pattern!r}, {moment!r})"
            for pattern in ("*.cwasm", "versions/*.plugin", "workers/*.json")
            for moment in ("before", "after")
        ),
    ],
)
def test_worker_killed_while_it_takes_a_version_holds_nobody_up(
    start: Start, folder: Path, data: Path, stop: str
) -> None:
    """In the middle of a compile, or before and after any write: the others take the version."""
    doomed, survivor = start(), start()
    doomed.tell(stop)
    survivor.process.send_signal(signal.SIGSTOP)  # or it might be the first
    put(folder, "2")
    doomed.hear("there")
    survivor.process.send_signal(signal.SIGCONT)  # now it finds the other's locks held
    doomed.kill()
    until(lambda: survivor.served() == "2")
    assert_goes_on(start, survivor, folder, data, "2")


@BEFORE_AND_AFTER
def test_worker_killed_while_it_decides(
    start: Start, folder: Path, data: Path, moment: str
) -> None:
    """A decision is made or not made, and never half; the next one can be made."""
    doomed, survivor = start(), start()
    doomed.tell(f"stop_at_write('control.json', {moment!r})")
    doomed.tell("control()")
    doomed.hear("there")
    doomed.kill()
    file = ControlFile(DataDir.open(data))
    assert file.read().disabled == ({"other"} if moment == "after" else set())
    file.update(lambda control: disable(control, "v"))
    until(lambda: survivor.served() is None)
    file.update(lambda control: enable(control, "v"))
    assert_goes_on(start, survivor, folder, data, "1")


@BEFORE_AND_AFTER
def test_worker_killed_while_it_switches(
    start: Start, folder: Path, data: Path, moment: str
) -> None:
    """Workers that swap together do so without the one that was killed, well before the bound."""
    doomed, survivor, another = (start("together") for _ in range(3))
    until(lambda: len(states(data)) == 3)
    doomed.tell(f"stop_at_write('switch.json', {moment!r})")
    put(folder, "2")
    doomed.hear("there")
    doomed.kill()
    for worker in (survivor, another):
        until(lambda worker=worker: worker.served() == "2")
    another.kill()
    assert_goes_on(start, survivor, folder, data, "2")


# Full disks


def small_volume(data: Path) -> list[str]:
    """The beginning of a command that sees a small volume in the place of the data directory."""
    data.mkdir(mode=0o700)
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    try:
        subprocess.run([*unshare, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no name spaces for users and mounts here")
    mount = f"mount -t tmpfs -o size=1m,mode=700 none '{data}' && exec \"$@\""
    return [*unshare, "sh", "-c", mount, "sh"]


def test_full_disk_costs_what_needs_it_and_nothing_else(
    start: Start, folder: Path, data: Path
) -> None:
    """New versions serve; each trouble is one line; no half file is left; room heals it."""
    worker = start("each", *small_volume(data))
    until(lambda: any(name.endswith(".json") for name in worker.does("files()")))
    worker.does("fill()")
    before = set(worker.does("files()"))
    for version in ("2", "3"):
        put(folder, version)
        until(lambda version=version: worker.served() == version)
    assert "cannot be written: No space left on device; let the user" in worker.does("control()")
    assert worker.served() == "3"
    until(lambda: any("state cannot be published" in line for line in worker.logged()))
    lines = worker.logged()
    assert [line for line in lines if "No space left on device" not in line] == []
    troubles = [line for line in lines if "compile cache: " in line or "published" in line]
    assert len(troubles) == 2, lines
    assert set(worker.does("files()")) - {"control.lock"} <= before
    worker.does("os.unlink(data + '/filled')")
    put(folder, "4")
    until(lambda: worker.served() == "4")
    assert worker.does("control()") == "done"
    kept = "[each.digest for each in host.depot.versions.history('v')][0]"
    serving = "[p['digest'] for p in host.status()['plugins'] if p['name'] == 'v'][0]"
    until(lambda: worker.does(kept) == worker.does(serving))
    assert worker.logged() == lines


# Data that vanishes


def remove(folder: Path) -> None:
    """Remove a folder into which somebody may be writing at this moment."""
    while True:
        try:
            return shutil.rmtree(folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.ENOENT):
                raise


def forget_cache(data: Path) -> None:
    remove(data / "cache")


def forget_everything(data: Path) -> None:
    remove(data)


@pytest.mark.parametrize("forget", [forget_cache, forget_everything])
def test_data_that_vanishes_is_made_again(
    make_app: MakeApp, folder: Path, data: Path, forget: Callable[[Path], None], caplog: Any
) -> None:
    """What was compiled, kept, decided and published is lost; serving goes on and makes it anew."""
    caplog.set_level(logging.WARNING)
    put(folder, "1")
    app, _ = make_app(RELOAD=True, POLL_INTERVAL=0.05)
    app.add_url_rule("/", view_func=lambda: "ok")
    host: Host = app.extensions["plugin_host"]
    assert host.depot is not None

    def served() -> str | None:
        return app.test_client().get("/").headers.get("x-version")

    for version in ("2", "3", "4"):
        assert served() == str(int(version) - 1)
        until(lambda: [worker.pid for worker in host.depot.workers()] == [os.getpid()])
        forget(data)
        put(folder, version)
        until(lambda version=version: served() == version)
        (plugin,) = host.snapshot.plugins
        until(lambda plugin=plugin: host.depot.versions.get(plugin.digest, "v"))
        assert list((data / "cache").glob("*.cwasm"))
    host.depot.control.update(lambda control: disable(control, "v"))
    until(lambda: served() is None)
    assert caplog.records == []
