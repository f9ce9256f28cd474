"""The cache of compiled modules under races, kills, and folders that fail: real processes."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from deploying import permissions_count

from plugin_host.compilecache import artefacts, cache
from plugin_host.compilecache.cache import CompileCache, artefact_name
from plugin_host.files import locking
from plugin_host.wasm.engine import engine, wat_to_wasm

ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20
PATH = Path("sums.wasm")

posix = pytest.mark.skipif(os.name != "posix", reason="locks, kills and modes of POSIX")


def module(functions: int) -> bytes:
    """A module that takes a while to compile; ``f0`` multiplies by itself."""
    body = "(local.set 1 (i32.mul (local.get 0) (local.get 0)))" * 20
    text = "".join(
        f'(func (export "f{n}") (param i32) (result i32) (local i32) {body} local.get 1)'
        for n in range(functions)
    )
    return wat_to_wasm(f"(module {text})".encode(), PATH)


def square(compiled: wasmtime.Module) -> Any:
    """What the module makes of 12."""
    store = wasmtime.Store(engine(False).raw)
    store.set_epoch_deadline(1_000_000)
    export = wasmtime.Instance(store, compiled, []).exports(store)["f0"]
    assert isinstance(export, wasmtime.Func)
    return export(store, 12)


Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def wasm(tmp_path: Path) -> bytes:
    """The module, also in a file for other processes."""
    content = module(200)
    (tmp_path / "sums.wasm").write_bytes(content)
    return content


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def compiled(directory: Path) -> CompileCache:
    return CompileCache(directory, 64 * MIB, wait=(100, 100))


@pytest.fixture
def start(tmp_path: Path, directory: Path) -> Iterator[Start]:
    """Start a process that runs a script with ``cache``, ``wasm``, ``path`` and ``public``."""
    running: list[subprocess.Popen[str]] = []
    head = f"""
        import os, sys, signal
        from pathlib import Path
        from plugin_host.compilecache import cache as module
        from plugin_host.wasm import engine as engines
        from plugin_host.files import locking
        public = engines.engine(False)
        path = Path({str(tmp_path / "sums.wasm")!r})
        wasm = path.read_bytes()
        cache = module.CompileCache(Path({str(directory)!r}), {64 * MIB}, wait=(100, 100))
        def say(*words):
            print(*words, flush=True)
        def told():
            return sys.stdin.readline().strip()
    """

    def run(script: str) -> subprocess.Popen[str]:
        source = textwrap.dedent(head) + textwrap.dedent(script)
        process = subprocess.Popen(
            [sys.executable, "-c", source],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        running.append(process)
        return process

    yield run
    for process in running:
        try:
            os.killpg(process.pid, signal.SIGKILL)  # with the children that it forked
        except ProcessLookupError:
            pass
        process.communicate()


def hear(process: subprocess.Popen[str]) -> str:
    """The next line that a process says."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str], word: str = "go") -> None:
    assert process.stdin is not None
    process.stdin.write(word + "\n")
    process.stdin.flush()


def kill(process: subprocess.Popen[str]) -> None:
    """As the kernel does it when memory runs out."""
    process.kill()
    process.wait()


def kept(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()} - {"key"}


COMPILE = """
    say("ready")
    told()
    cache.compile(public, wasm, path, background={background})
    stats = cache.stats()
    say(stats.hits, stats.misses, stats.rejected, stats.errors)
"""

#: Compiles for ever: whenever this is killed, it is in the middle of a real compile.
NEVER_DONE = """
    real = public.compile
    def compile(wasm, path, *more):
        say("compiling")
        while True:
            real(wasm, path)
    public.compile = compile
    cache.compile(public, wasm, path)
"""


@posix
@pytest.mark.parametrize("background", [False, True], ids=["at start-up", "for a reload"])
def test_processes_that_race_compile_once(
    start: Start, wasm: bytes, directory: Path, background: bool
) -> None:
    """Of four workers that find a new module at once, one compiles and three map."""
    workers = [start(COMPILE.format(background=background)) for _ in range(4)]
    assert [hear(worker) for worker in workers] == ["ready"] * 4
    for worker in workers:
        tell(worker)
    assert sorted(hear(worker) for worker in workers) == ["0 1 0 0"] + ["1 0 0 0"] * 3
    assert kept(directory) == {artefact_name(wasm)}


@posix
def test_processes_that_race_for_the_key_agree(start: Start, wasm: bytes, directory: Path) -> None:
    """Workers that start on an empty folder at once sign with one key."""
    script = """
        from plugin_host.compilecache.key import read_or_make_key
        cache.artefacts.ready()
        say("ready")
        told()
        say(read_or_make_key(cache.artefacts.directory).hex())
    """
    workers = [start(script) for _ in range(4)]
    assert [hear(worker) for worker in workers] == ["ready"] * 4
    for worker in workers:
        tell(worker)
    assert {hear(worker) for worker in workers} == {(directory / "key").read_bytes().hex()}


@posix
def test_a_killed_compile_holds_nobody_up(
    start: Start,
    wasm: bytes,
    compiled: CompileCache,
    directory: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """When the worker that compiles is killed, one that waits for it takes over."""
    holder = start(NEVER_DONE)
    assert hear(holder) == "compiling"
    waiter = start(COMPILE.format(background=False))
    assert hear(waiter) == "ready"
    tell(waiter)
    lock = directory / f"{artefact_name(wasm)}.lock"
    assert not locking.acquire(lock, 0.1)
    assert kept(directory) == {lock.name}
    kill(holder)
    assert hear(waiter) == "0 1 0 0"
    assert square(compiled.compile(engine(False), wasm, PATH)) == 144
    assert compiled.stats().hits == 1
    assert kept(directory) == {artefact_name(wasm)}


@posix
def test_a_kill_leaves_no_lock_in_a_forked_child(
    start: Start, wasm: bytes, directory: Path
) -> None:
    """A lock ends with its holder, though a child that was forked meanwhile lives on."""
    script = """
        cache.artefacts.ready()
        path = cache.artefacts.directory / (module.artefact_name(wasm) + ".lock")
        lock = locking.acquire(path, 0)
        assert lock
        child = os.fork()
        if child == 0:
            lock.remove(path)  # the parent's: not given back by this
            say("child")
            told()
            os._exit(0)
        signal.pause()
    """
    parent = start(script)
    assert hear(parent) == "child"
    path = directory / f"{artefact_name(wasm)}.lock"
    assert not locking.acquire(path, 0.05)
    kill(parent)
    lock = locking.acquire(path, 100)
    assert lock
    tell(parent)  # the child, which has been waiting for this word
    lock.remove(path)


@posix
def test_a_forked_child_counts_for_itself_and_compiles(start: Start, wasm: bytes) -> None:
    """After a fork in the middle of another thread's compile the child maps and compiles alike."""
    script = """
        import threading
        real = public.compile
        inside, leave = threading.Event(), threading.Event()
        def compile(wasm, path, *more):
            inside.set()
            leave.wait()
            return real(wasm, path)
        public.compile = compile
        thread = threading.Thread(target=cache.compile, args=(public, wasm, path))
        cache._counting.acquire()  # as another thread may have it at a fork
        thread.start()
        inside.wait()
        child = os.fork()
        if child == 0:
            public.compile = real
            smaller = engines.wat_to_wasm(b"(module)", path)
            cache.compile(public, smaller, path)
            cache.compile(public, smaller, path)
            held = len(locking._claims)
            say(cache.stats().hits, cache.stats().misses, held)
            os._exit(0)
        os.waitpid(child, 0)
        cache._counting.release()
        leave.set()
        thread.join()
        say(cache.stats().hits, cache.stats().misses)
    """
    process = start(script)
    assert [hear(process), hear(process)] == ["1 1 0", "0 1"]


@posix
def test_a_kill_in_the_middle_of_a_write_leaves_no_half_artefact(
    start: Start, wasm: bytes, compiled: CompileCache, directory: Path
) -> None:
    """A worker killed while it writes leaves a temporary file, which is never loaded."""
    script = """
        def replace(source, target):
            os.truncate(source, 1000)
            say("writing")
            signal.pause()
        os.replace = replace
        cache.compile(public, wasm, path)
    """
    writer = start(script)
    assert hear(writer) == "writing"
    kill(writer)
    assert artefact_name(wasm) not in kept(directory)
    assert square(compiled.compile(engine(False), wasm, PATH)) == 144
    (left,) = directory.glob(".*.tmp")
    os.utime(left, (0, 0))
    compiled.artefacts.prune(keep=artefact_name(wasm))
    assert kept(directory) == {artefact_name(wasm)}


@posix
def test_a_full_disk_costs_the_cache_only(start: Start, wasm: bytes, directory: Path) -> None:
    """When nothing can be written modules are compiled, with one line, and nothing is left."""
    script = """
        import logging, resource
        logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.WARNING)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # what is longer fails half-way
        for _ in range(3):
            cache.compile(public, wasm, path)
        stats = cache.stats()
        say(stats.hits, stats.misses, stats.errors, stats.bytes)
    """
    process = start(script)
    lines = [hear(process), hear(process)]
    assert lines == [
        f"compile cache: {directory} cannot be written: {os.strerror(errno.EFBIG)}; make room, or"
        " make it writable to this user; until then every worker compiles by itself",
        "0 3 3 0",
    ]
    assert kept(directory) == set()


@pytest.mark.parametrize(
    "code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EIO, errno.ENOLCK]
)
def test_a_folder_that_takes_no_file_costs_the_cache_only(
    compiled: CompileCache,
    wasm: bytes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    code: int,
) -> None:
    """Without locks and files modules are compiled, with one line for each time of trouble."""

    def fail(*args: Any, **options: Any) -> Any:
        raise OSError(code, os.strerror(code))

    def fail_twice(content: bytes) -> None:
        with monkeypatch.context() as broken:
            broken.setattr(cache, "acquire", fail)
            broken.setattr(artefacts, "write_whole", fail)
            for _ in range(2):
                assert square(compiled.compile(engine(False), content, PATH)) == 144

    def warnings() -> int:
        return sum(record.levelname == "WARNING" for record in caplog.records)

    fail_twice(wasm)
    assert warnings() == 1
    assert os.strerror(code) in caplog.text
    for _ in range(2):
        compiled.compile(engine(False), wasm, PATH)
    fail_twice(module(1))
    assert warnings() == 2
    stats = compiled.stats()
    assert (stats.hits, stats.misses, stats.errors) == (1, 5, 4)


@posix
def test_a_read_only_cache_serves(
    compiled: CompileCache, wasm: bytes, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder that was filled before it became read-only is mapped from; what is new compiles."""
    compiled.compile(engine(False), wasm, PATH)
    directory.chmod(0o500)
    with permissions_count():
        assert square(compiled.compile(engine(False), wasm, PATH)) == 144
        assert square(compiled.compile(engine(False), module(1), PATH)) == 144
    assert sum(record.levelname == "WARNING" for record in caplog.records) == 1
    assert compiled.stats().hits == 1
    directory.chmod(0o700)


def test_a_removed_folder_is_made_again(
    compiled: CompileCache, wasm: bytes, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Removing the cache while workers run costs one compile, and what is mapped stays."""
    mapped = compiled.compile(engine(False), wasm, PATH)
    shutil.rmtree(directory)
    assert square(mapped) == 144
    assert square(compiled.compile(engine(False), wasm, PATH)) == 144
    assert square(compiled.compile(engine(False), wasm, PATH)) == 144
    stats = compiled.stats()
    assert (stats.hits, stats.misses, stats.errors) == (1, 2, 0)
    assert not caplog.records


@posix
def test_a_folder_removed_during_a_compile_costs_nothing_else(
    compiled: CompileCache, wasm: bytes, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result of a compile goes into a folder that is made again, lock or no lock."""
    real = engine(False).compile

    def compile_and_lose(content: bytes, path: Path, *more: Any) -> wasmtime.Module:
        shutil.rmtree(directory)
        return real(content, path)

    monkeypatch.setattr(engine(False), "compile", compile_and_lose)
    assert square(compiled.compile(engine(False), wasm, PATH)) == 144
    assert kept(directory) == {artefact_name(wasm)}


def _others_read(directory: Path) -> str:
    directory.chmod(0o755)
    return "has mode 0755: others may use it"


def _symlink(directory: Path) -> str:
    directory.rename(directory.with_name("elsewhere"))
    directory.symlink_to("elsewhere")
    return "is not a folder; name one that is no symlink"


def _file(directory: Path) -> str:
    shutil.rmtree(directory)
    directory.touch()
    return "is not a folder"


def _impossible(directory: Path) -> str:
    shutil.rmtree(directory.parent)
    directory.parent.touch()
    return "cannot be made: "


@posix
@pytest.mark.parametrize("spoil", [_others_read, _symlink, _file, _impossible])
def test_a_folder_that_is_not_private_is_not_used(
    tmp_path: Path,
    wasm: bytes,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Path], str],
) -> None:
    """A folder that others can enter, or that is none, is left alone; one line says why."""
    directory = tmp_path / "state" / "cache"
    compiled = CompileCache(directory, 64 * MIB)
    compiled.compile(engine(False), wasm, PATH)
    why = spoil(directory)
    for _ in range(3):
        assert square(compiled.compile(engine(False), wasm, PATH)) == 144
    stats = compiled.stats()
    assert (stats.hits, stats.misses, stats.errors) == (0, 4, 3)
    (record,) = caplog.records
    assert f"compile cache: {directory} {why}" in record.getMessage()
