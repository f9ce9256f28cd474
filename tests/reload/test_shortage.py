"""A machine that has no memory, thread, process or descriptor left, and then has again."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import guests
import pytest
from clocks import Clock
from deploying import until
from flask import Flask
from guests import MakeApp

from plugin_host import LoadDelayed
from plugin_host.compilecache.cache import CompileCache
from plugin_host.files import private
from plugin_host.folder import rehearsal
from plugin_host.folder.notifier import FolderNotifier, is_available
from plugin_host.host.host import Host
from plugin_host.host.retrying import FIRST, LONGEST, Retries
from plugin_host.host.status import Refusal
from plugin_host.hostfunctions import http_client
from plugin_host.machine.control import disable
from plugin_host.machine.controlfile import ControlFile
from plugin_host.machine.datadir import DataDir, DataDirError
from plugin_host.machine.fleet import fleet
from plugin_host.machine.owed import EVERY
from plugin_host.wasm import compiler, deadline, engine
from plugin_host.wasm.compiler import Killed, Unavailable, compile_apart
from plugin_host.wasm.runtime import choose_engine, rest
from plugin_host.wasm.shortage import shortage

PATH = Path("v.wasm")

Patch = pytest.MonkeyPatch
Log = pytest.LogCaptureFixture


def put(folder: Path, version: str) -> None:
    draft = folder / ".v.wat"
    draft.write_text(guests.adding("x-version", version))
    draft.rename(folder / "v.wat")


def served(app: Flask) -> tuple[int, str | None]:
    answer = app.test_client().get("/")
    return answer.status_code, answer.headers.get("x-version")


def host_of(app: Flask) -> Host:
    host: Host = app.extensions["plugin_host"]
    return host


@pytest.fixture
def app(make_app: MakeApp, folder: Path) -> Flask:
    """An app that serves version 1; its answers have no header without the plugin."""
    put(folder, "1")
    app, _ = make_app()
    app.add_url_rule("/", view_func=lambda: "ok")
    assert served(app) == (200, "1")
    return app


def refuse(*_: Any, **__: Any) -> Any:
    raise RuntimeError("can't start new thread")


@contextmanager
def no_threads(patch: Patch) -> Iterator[None]:
    """No thread can be started for deadlines, and none is left from before."""
    rest()
    with patch.context() as broken:
        broken.setattr(deadline.osthread, "start", refuse)
        yield


@contextmanager
def no_memory(patch: Patch) -> Iterator[None]:
    """What wasmtime maps for an instance is refused."""
    import wasmtime

    def fail(*_: Any) -> Any:
        cause = "Caused by:\n    Cannot allocate memory (os error 12)\n"
        raise wasmtime.WasmtimeError(f"mmap failed to reserve 0x104000000 bytes\n\n{cause}")

    with patch.context() as broken:
        broken.setattr("plugin_host.wasm.fast.FastLinked.instantiate", fail)
        broken.setattr("plugin_host.wasm.public.prelinked", lambda *_: fail)
        yield


# Requests


def test_without_threads_calls_fail_by_their_policy(
    app: Flask, monkeypatch: Patch, caplog: Log
) -> None:
    """Where no thread can watch a deadline no guest is entered; nobody is blamed, and it passes."""
    plugin = host_of(app).snapshot.plugins[0]
    usual = sys.getswitchinterval()
    with no_threads(monkeypatch):
        assert [served(app) for _ in range(3)] == [(200, None)] * 3
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 3
    assert all("no thread can be started to watch its deadline" in line for line in lines)
    assert all("TasksMax" in line and "policy skip" in line for line in lines)
    assert (plugin.totals()["faults"], plugin.totals()["errors"]) == (0, 3)
    assert sys.getswitchinterval() == usual
    assert served(app) == (200, "1")


def test_a_call_that_finds_no_thread_hides_no_later_call(monkeypatch: Patch) -> None:
    """After a refusal the next call asks for a thread again, or it would run unwatched."""
    watchdog = deadline.Watchdog(lambda: None)
    with no_threads(monkeypatch), pytest.raises(deadline.NoResources):
        watchdog.look_by(time.monotonic() + 60)
    assert time.monotonic() + 3600 < watchdog.next_look


#: Serves version 1, is short of memory for six requests and a new version, and has room again.
SHORT = """
    import logging, resource, sys, time
    from pathlib import Path
    from flask import Flask
    from plugin_host import PluginHost
    from plugin_host.host import retrying
    retrying.FIRST = 0.1
    folder, data, newer = sys.argv[1:]
    logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.WARNING)
    app = Flask("shop")
    app.config.update(
        PLUGIN_HOST_DIR=folder, PLUGIN_HOST_DATA_DIR=data, PLUGIN_HOST_RELOAD=False
    )
    logging.getLogger("plugin_host").setLevel(logging.WARNING)
    PluginHost(app)
    app.add_url_rule("/", view_func=lambda: "ok")
    host = app.extensions["plugin_host"]
    plugin = host.snapshot.plugins[0]
    kept = plugin._pool.idle.pop()  # lent
    unlimited = resource.RLIM_INFINITY
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + (64 << 20), unlimited))
    served = [app.test_client().get("/") for _ in range(6)]
    print({(each.status_code, each.headers.get("x-version")) for each in served})
    print(plugin.totals()["faults"], plugin.breaker.is_closed)
    Path(newer).rename(Path(folder) / "v.wat")
    while not host._lineup.refused:
        host.reconcile()
    resource.setrlimit(resource.RLIMIT_AS, (unlimited, unlimited))
    while app.test_client().get("/").headers.get("x-version") != "2":
        host.reconcile()
        time.sleep(0.01)
    print("loaded")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits address space, as Linux")
def test_without_memory_calls_fail_by_their_policy(tmp_path: Path, folder: Path) -> None:
    """Memory that the machine has not is no plugin's fault, and a version waits until it has."""
    put(folder, "1")
    newer = tmp_path / "newer.wat"
    newer.write_text(guests.adding("x-version", "2"))
    script = [sys.executable, "-c", textwrap.dedent(SHORT), folder, tmp_path / "data", newer]
    done = subprocess.run(script, capture_output=True, text=True, timeout=120)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done
    said = [line for line in lines if line.startswith("plugin ")]
    assert [line for line in lines if line not in said] == ["{(200, None)}", "0 True", "loaded"]
    why = "no instance can be made: Cannot allocate memory; free memory, or "
    assert all(why in line for line in said), said
    assert said[-1].startswith("plugin not loaded: v.wat: ")


# Loading


def no_descriptors(patch: Patch) -> Any:
    context = patch.context()

    @contextmanager
    def broken() -> Iterator[None]:
        def fail(*_: Any, **__: Any) -> Any:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        with context as at:
            at.setattr("plugin_host.host.selection.load", fail)
            yield

    return broken()


SHORTAGES = pytest.mark.parametrize("short", [no_threads, no_memory, no_descriptors])


@SHORTAGES
def test_a_version_that_the_machine_could_not_load_is_loaded_later(
    app: Flask, folder: Path, short: Any, monkeypatch: Patch, caplog: Log
) -> None:
    """The old version serves on, one line says why, and the new one comes when there is room."""
    host, clock = host_of(app), Clock()
    host._retries = Retries(None, clock)
    rest()
    with short(monkeypatch):
        put(folder, "2")
        until(lambda: (host.reconcile(), host._lineup.refused)[1])
        for _ in range(3):
            clock.now += LONGEST
            host.reconcile()
            host.reconcile()
    assert [r.getMessage()[:18] for r in caplog.records] == ["plugin not loaded:"]
    assert caplog.records[0].exc_info is None
    assert "keeps serving" in caplog.text
    assert served(app) == (200, "1")
    clock.now += LONGEST
    until(lambda: (host.reconcile(), served(app))[1] == (200, "2"))
    assert host._lineup.refused == {}


@SHORTAGES
def test_a_site_that_starts_without_resources_has_its_plugins_later(
    make_app: MakeApp, folder: Path, short: Any, monkeypatch: Patch
) -> None:
    """It starts, serves without them, and loads them by itself when there is room."""
    put(folder, "1")
    rest()
    with short(monkeypatch):
        app, _ = make_app()
    app.add_url_rule("/", view_func=lambda: "ok")
    assert served(app) == (200, None)
    host, clock = host_of(app), Clock()
    host._retries = Retries(None, clock)
    host.reconcile()
    clock.now += FIRST
    until(lambda: (host.reconcile(), served(app))[1] == (200, "1"))


@pytest.mark.parametrize(
    "name",
    [
        "(os error 12)",
        r"no memory\0a(os error 12)\0a",
        r"no memory (os error 12)\0a\0aStack backtrace:\0a   0: f",
    ],
)
def test_a_module_cannot_say_that_the_machine_is_short(name: str) -> None:
    """wasmtime's errors quote its names; only the first cause counts."""
    import wasmtime

    text = f'(module (func $f) (export "{name}" (func $f)) (export "{name}" (func $f)))'
    with pytest.raises(wasmtime.WasmtimeError, match=r"duplicate export(.|\n)*os error 12") as bad:
        wasmtime.Module(choose_engine(True).raw, wasmtime.wat2wasm(text))
    assert shortage(bad.value) == ""


def test_a_folder_of_which_nothing_can_be_told_is_looked_at_again(
    make_app: MakeApp, folder: Path, monkeypatch: Patch, caplog: Log
) -> None:
    """A network file system that fails as a worker starts does not end the worker."""
    put(folder, "1")
    real = os.stat

    def fail(path: Any, **more: Any) -> Any:
        if path == folder:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return real(path, **more)

    with monkeypatch.context() as broken:
        broken.setattr(os, "stat", fail)
        app, _ = make_app()
    app.add_url_rule("/", view_func=lambda: "ok")
    (line,) = [record.getMessage() for record in caplog.records if record.levelname != "INFO"]
    assert "cannot be read: Stale file handle; see the kernel's log" in line
    until(lambda: (host_of(app).reconcile(), served(app))[1] == (200, "1"))


def test_attempts_become_rarer_and_end_with_the_refusal(clock: Clock) -> None:
    """Each attempt that fails doubles the pause, up to the longest; other files begin anew."""
    delayed = {"v": Refusal(LoadDelayed(PATH, "no memory"), 0.0, "d")}
    retries, waited = Retries(None, clock), []
    assert retries.due(delayed) == []
    for _ in range(9):
        begun = clock.now
        while not retries.due(delayed):
            clock.now += 5.0
        waited.append(clock.now - begun)
    assert waited == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 600.0, 600.0]
    assert retries.due({}) == []
    again = {"v": Refusal(LoadDelayed(PATH, "no memory"), 0.0, "e")}
    assert retries.due(again) == []
    clock.now += FIRST
    assert retries.due(again) == ["v"]


def test_a_wasmtime_is_not_taken_for_an_unknown_one_for_want_of_memory(monkeypatch: Patch) -> None:
    """The self-check of the fast call says that there is no memory, and not that it differs."""
    from plugin_host.wasm import selfcheck

    with no_memory(monkeypatch), pytest.raises(deadline.NoResources):
        selfcheck.self_check(choose_engine(True))
    with no_threads(monkeypatch), pytest.raises(deadline.NoResources):
        selfcheck.self_check(choose_engine(True))
    with pytest.raises(deadline.NoResources):  # and so from within what is to fail
        selfcheck._raised(lambda: selfcheck._raised(_short))

    def unmapped(*_: Any) -> Any:
        import wasmtime

        raise wasmtime.WasmtimeError("no room\n\nCaused by:\n    no memory (os error 12)\n")

    monkeypatch.setattr(selfcheck, "_exercise", unmapped)
    with pytest.raises(deadline.NoResources, match="no module can be made: Cannot allocate"):
        selfcheck.self_check(choose_engine(True))


def _short() -> None:
    raise deadline.NoResources("no thread")


# Compiling

#: Too large to be compiled in this process.
LARGE = (
    "(module "
    + '(func (export "f") (local i32) '
    + "(local.set 0 (i32.mul (local.get 0) (local.get 0)))" * 2000
    + "))"
)


@pytest.fixture
def large() -> bytes:
    wasm = engine.wat_to_wasm(LARGE.encode(), PATH)
    assert not compiler.is_harmless(wasm, background=False)
    return wasm


@pytest.mark.skipif(os.name != "posix", reason="kills of POSIX")
@pytest.mark.parametrize("said", [b"", b"+", b"+=half"])
def test_a_compile_that_the_kernel_killed_is_tried_again(
    tmp_path: Path, large: bytes, said: bytes, monkeypatch: Patch
) -> None:
    """Killed for want of memory: the module is not blamed, in no process, and compiles later."""
    cache = CompileCache(tmp_path / "cache", 1 << 24)
    with monkeypatch.context() as broken:
        broken.setattr(compiler, "_run", lambda _data: (said, -signal.SIGKILL))
        with pytest.raises(LoadDelayed, match="was killed, as when memory runs out; free memory"):
            cache.compile(choose_engine(True), large, PATH)
    assert list((tmp_path / "cache").glob("*.cwasm")) == []
    cache.compile(choose_engine(True), large, PATH)


@pytest.mark.skipif(os.name != "posix", reason="kills of POSIX")
def test_a_process_that_compiles_can_be_killed(large: bytes, monkeypatch: Patch) -> None:
    """That it was killed is what the operating system says of it."""
    real = compiler._start

    def start(stdin: int, stdout: int) -> int:
        pid = real(stdin, stdout)
        os.kill(pid, signal.SIGKILL)
        return pid

    monkeypatch.setattr(compiler, "_start", start)
    with pytest.raises(Killed):
        compile_apart(large, engine.options(False), 60, False)


@pytest.mark.skipif(os.name != "posix", reason="processes of POSIX")
@pytest.mark.parametrize("working", [0, 1])
def test_without_descriptors_no_process_compiles(
    large: bytes, working: int, monkeypatch: Patch
) -> None:
    """That is known as such, and the pipe that was made before is closed (the leak detector)."""
    left, real = [None] * working, os.pipe

    def pipe() -> tuple[int, int]:
        if not left:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        left.pop()
        return real()

    monkeypatch.setattr(os, "pipe", pipe)
    with pytest.raises(Unavailable, match="no process can be started: Too many open files"):
        compile_apart(large, engine.options(False), 60, False)


# The data directory


def test_a_version_that_could_not_be_kept_is_kept_later(
    app: Flask, folder: Path, monkeypatch: Patch, caplog: Log
) -> None:
    """After a full disk the versions that serve, and the ones before, can be rolled back to."""
    host = host_of(app)
    assert host.depot is not None
    store, now = host.depot.versions, time.time_ns()
    store._owed._clock_ns = store._clock_ns = lambda: now

    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    digests = [host.snapshot.plugins[0].digest]
    with monkeypatch.context() as broken:
        broken.setattr("plugin_host.machine.datadir.write_whole", fail)
        for version in ("2", "3"):
            put(folder, version)
            until(lambda v=version: (host.reconcile(), served(app))[1] == (200, v))
            digests.insert(0, host.snapshot.plugins[0].digest)
        assert [each.digest for each in store.history("v")] == digests[2:]
    kept = [r.getMessage() for r in caplog.records if "cannot be kept for a rollback" in r.message]
    assert len(kept) == 1
    assert "versions' cannot be written: No space left on device; let the user" in kept[0]
    host.reconcile()
    assert len(store.history("v")) == 1  # not at each look
    now += int((EVERY + 1) * 1e9)
    host.reconcile()
    assert [each.digest for each in store.history("v")] == digests


def test_workers_that_cannot_be_listed_are_our_error(tmp_path: Path, monkeypatch: Patch) -> None:
    """What the system refuses has our words, place and remedy, and is not raised raw."""
    data = DataDir.open(tmp_path / "data")

    def fail(*_: Any) -> Any:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "listdir", fail)
    with pytest.raises(DataDirError, match="cannot be listed: Too many open files; raise the lim"):
        fleet(data)


def test_a_reload_survives_that_workers_cannot_be_listed(
    app: Flask, folder: Path, monkeypatch: Patch
) -> None:
    """To tidy is for another day; the swap is announced."""
    host = host_of(app)

    real = os.listdir

    def fail(path: Any) -> Any:
        if Path(path).name == "workers":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path)

    monkeypatch.setattr(os, "listdir", fail)
    put(folder, "2")
    until(lambda: (host.reconcile(), served(app))[1] == (200, "2"))


@pytest.mark.skipif(os.name != "posix", reason="folders are synced on POSIX")
def test_a_decision_that_is_in_place_was_made(tmp_path: Path, monkeypatch: Patch) -> None:
    """When the folder of a file that all see already cannot be synced, nobody is told otherwise."""

    def fail(*_: Any) -> Any:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    file = ControlFile(DataDir.open(tmp_path / "data"))
    monkeypatch.setattr(private, "_sync", fail)
    assert file.update(lambda control: disable(control, "v")).disabled == {"v"}


def test_a_file_that_fails_as_it_is_made_is_not_left(tmp_path: Path, monkeypatch: Patch) -> None:
    """A temporary file goes with whatever fails after it was made."""

    def fail(*_: Any) -> Any:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with monkeypatch.context() as broken:
        broken.setattr(private.os, "fstat", fail)
        with pytest.raises(OSError, match=os.strerror(errno.ESTALE)):
            private.write_whole(tmp_path / "file", [b"content"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "remedy"),
    [(errno.EMFILE, "raise the limit of open files"), (errno.EIO, "see the kernel's log")],
)
def test_a_disk_or_a_limit_is_no_reason_to_remove_decisions(
    tmp_path: Path, code: int, remedy: str, monkeypatch: Patch, caplog: Log
) -> None:
    """The remedy fits the error: what cannot be opened now is not to be removed."""
    file = ControlFile(DataDir.open(tmp_path / "data"))
    file.update(lambda control: disable(control, "v"))

    def fail(*_: Any) -> Any:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as broken:
        broken.setattr("plugin_host.machine.controlfile.read", fail)
        assert file.read().disabled == {"v"}
    assert remedy in caplog.text
    assert "remove" not in caplog.text


def test_an_artefact_of_which_nothing_can_be_told_is_compiled_again(
    tmp_path: Path, large: bytes, monkeypatch: Patch
) -> None:
    """The cache never fails a load for its own sake."""
    cache = CompileCache(tmp_path / "cache", 1 << 24)
    cache.compile(choose_engine(True), large, PATH)

    def fail(*_: Any) -> Any:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    class Broken:
        """The module ``os`` of artefacts, without fstat."""

        fstat = staticmethod(fail)

        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

    monkeypatch.setattr("plugin_host.compilecache.artefacts.os", Broken())
    cache.compile(choose_engine(True), large, PATH)
    assert cache.stats().rejected == 1


# Other threads and descriptors


def no_thread(patch: Patch) -> None:
    patch.setattr(rehearsal.osthread, "start", refuse)


def no_pipe(patch: Patch) -> None:
    def fail() -> Any:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    patch.setattr(os, "pipe", fail)


def no_watch(patch: Patch) -> None:
    class Libc:
        inotify_init1 = staticmethod(rehearsal._libc().inotify_init1)

        @staticmethod
        def inotify_add_watch(*_: Any) -> int:
            import ctypes

            ctypes.set_errno(errno.ENOSPC)
            return -1

    patch.setattr(rehearsal, "_libc", Libc)


@pytest.mark.skipif(
    not is_available() or not sys.platform.startswith("linux"), reason="needs inotify"
)
@pytest.mark.parametrize("refused", [no_thread, no_pipe, no_watch])
def test_events_that_are_refused_cost_no_descriptor(
    tmp_path: Path, refused: Callable[[Patch], None], monkeypatch: Patch
) -> None:
    """However often they are asked for in vain, nothing stays open (the leak detector)."""
    clock = Clock()
    notifier = FolderNotifier(tmp_path, lambda *_: None, lambda: None, clock)
    with monkeypatch.context() as broken:
        refused(broken)
        for _ in range(3):
            assert not notifier.ensure()
            clock.now += 60
    assert notifier.ensure()
    notifier.close()


@pytest.mark.skipif(
    not is_available() or not sys.platform.startswith("linux"), reason="needs inotify"
)
@pytest.mark.parametrize("remove", [lambda at: at.rename(at.with_name("away")), Path.rmdir])
def test_a_folder_that_goes_while_watching_begins_costs_no_descriptor(
    tmp_path: Path, remove: Callable[[Path], object], monkeypatch: Patch
) -> None:
    """watchdog is given one that is there; nothing stays open (the leak detector)."""
    at = tmp_path / "plugins"
    at.mkdir()
    notifier = FolderNotifier(at, lambda *_: None, lambda: None)
    with monkeypatch.context() as late:
        late.setattr("plugin_host.folder.notifier.rehearse", lambda _: remove(at))
        notifier.ensure()
    assert not at.exists()
    assert not notifier.ensure()
    at.mkdir()
    assert notifier.ensure()
    notifier.close()


def test_a_look_up_without_a_thread_counts_as_none(monkeypatch: Patch) -> None:
    """A name that could not be looked up for want of a thread takes nobody's turn."""
    lookups: list[None] = []
    monkeypatch.setattr(http_client.osthread, "start", refuse)
    with pytest.raises(http_client._Failed, match="no thread can be started"):
        http_client._resolve("example.org", 80, time.monotonic() + 5, lookups)
    assert lookups == []
