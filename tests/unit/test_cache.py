"""The cache of compiled modules: what it maps, what it refuses, what it keeps."""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wasmtime

from plugin_host.compilecache import artefacts, cache
from plugin_host.compilecache.artefacts import Artefacts
from plugin_host.compilecache.cache import CacheStats, CompileCache, artefact_name
from plugin_host.compilecache.trim import trim_memory
from plugin_host.errors import ModuleError
from plugin_host.files import locking
from plugin_host.files.private import open_private
from plugin_host.wasm.engine import Engine, engine, wat_to_wasm

MIB = 1 << 20
PATH = Path("answer.wasm")

linux = pytest.mark.skipif(sys.platform != "linux", reason="as Linux does it")
posix = pytest.mark.skipif(os.name != "posix", reason="owners, modes and locks of POSIX")


def module(number: int) -> bytes:
    """A module whose export ``f`` returns a number."""
    return wat_to_wasm(
        f'(module (func (export "f") (result i32) i32.const {number}))'.encode(), PATH
    )


WASM = module(42)


def answer(compiled: wasmtime.Module, chosen: Engine) -> Any:
    """What ``f`` of a compiled module returns when it is run."""
    store = wasmtime.Store(chosen.raw)
    store.set_epoch_deadline(1_000_000)
    export = wasmtime.Instance(store, compiled, []).exports(store)["f"]
    assert isinstance(export, wasmtime.Func)
    return export(store)


@pytest.fixture
def chosen(fast_call: bool) -> Engine:
    return engine(fast_call)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state" / "cache"


@pytest.fixture
def compiled(directory: Path) -> CompileCache:
    return CompileCache(directory, MIB, wait=(30, 30))


@pytest.fixture
def artefact(compiled: CompileCache, directory: Path) -> Path:
    """The kept form of `WASM`."""
    compiled.compile(engine(False), WASM, PATH)
    return directory / artefact_name(WASM)


def counts(of: CompileCache) -> tuple[int, int, int, int]:
    stats = of.stats()
    return stats.hits, stats.misses, stats.rejected, stats.errors


# What is shared


def test_the_second_compile_is_a_mapping(
    compiled: CompileCache, chosen: Engine, directory: Path
) -> None:
    """A module is compiled once, and what is mapped then computes the same."""
    first = compiled.compile(chosen, WASM, PATH)
    second = compiled.compile(chosen, WASM, PATH)
    size = (directory / artefact_name(WASM)).stat().st_size
    assert [answer(first, chosen), answer(second, chosen)] == [42, 42]
    assert compiled.stats() == CacheStats(hits=1, misses=1, bytes=size)


@linux
def test_what_was_compiled_is_mapped_from_the_file(compiled: CompileCache, artefact: Path) -> None:
    """Also the worker that compiled runs the pages that it shares with the others."""
    kept = compiled.compile(engine(False), WASM, PATH)
    assert str(artefact) in Path("/proc/self/maps").read_text()
    del kept


@pytest.mark.parametrize("first", [True, False], ids=["fast first", "public first"])
def test_both_engines_share_artefacts(compiled: CompileCache, first: bool) -> None:
    """What one way of calling compiled, the other maps."""
    compiled.compile(engine(first), WASM, PATH)
    mapped = compiled.compile(engine(not first), WASM, PATH)
    assert answer(mapped, engine(not first)) == 42
    assert counts(compiled) == (1, 1, 0, 0)


def test_a_restart_maps_what_was_kept(compiled: CompileCache, artefact: Path) -> None:
    """Another process finds the artefacts of the one before it."""
    later = CompileCache(artefact.parent, MIB)
    assert answer(later.compile(engine(False), WASM, PATH), engine(False)) == 42
    assert counts(later) == (1, 0, 0, 0)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda mp: mp.setattr(cache, "fingerprint", lambda _: "other"), id="options"),
        pytest.param(lambda mp: mp.setattr(cache, "_machine", lambda: "other"), id="processor"),
        pytest.param(lambda mp: mp.setattr(cache, "_release", lambda: "1.0"), id="wasmtime"),
        pytest.param(lambda mp: mp.setenv("WASMTIME_BACKTRACE_DETAILS", "0"), id="environment"),
    ],
)
def test_other_circumstances_are_other_artefacts(
    change: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name depends on content, wasmtime's version, the engine's options and the processor."""
    before = artefact_name(WASM)
    assert before == artefact_name(WASM) != artefact_name(module(43))
    change(monkeypatch)
    assert artefact_name(WASM) != before


def test_an_invalid_module_is_an_error_and_leaves_nothing(
    compiled: CompileCache, chosen: Engine, directory: Path
) -> None:
    """A module that cannot be compiled is reported as without a cache, and its lock is gone."""
    for low in (False, True):
        with pytest.raises(ModuleError, match=r"answer\.wasm: is not a valid WebAssembly module"):
            compiled.compile(chosen, WASM[:-3], PATH, background=low)
    assert list(directory.iterdir()) == []
    assert counts(compiled) == (0, 0, 0, 0)


def test_threads_compile_one_module_once(compiled: CompileCache) -> None:
    """Threads that want the same module at once get one compile and mappings."""
    answers: list[Any] = []
    start = threading.Barrier(5)

    def work() -> None:
        start.wait()
        answers.append(answer(compiled.compile(engine(False), WASM, PATH), engine(False)))

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [42] * 5
    assert counts(compiled) == (4, 1, 0, 0)


# What is refused


def assert_refused_and_repaired(of: CompileCache, artefact: Path) -> None:
    """The artefact is compiled anew, and the one after that is mapped."""
    before = counts(of)
    again = [of.compile(engine(False), WASM, PATH) for _ in range(2)]
    assert [answer(each, engine(False)) for each in again] == [42, 42]
    expected = before[0] + 1, before[1] + 1, before[2] + 1, before[3]
    assert counts(of) == expected
    assert artefact.lstat().st_mode & 0o7777 == (0o600 if os.name == "posix" else 0o666)


def test_no_altered_byte_is_ever_loaded(compiled: CompileCache, artefact: Path) -> None:
    """Wherever one bit of an artefact changes, in code, in tables or in its proof, it shows."""
    good = artefact.read_bytes()
    chance = random.Random(8)
    places = [0, 1, len(good) - 33, len(good) - 32, len(good) - 1]
    places += [chance.randrange(len(good)) for _ in range(40)]
    for place in places:
        altered = bytearray(good)
        altered[place] ^= 1 << chance.randrange(8)
        artefact.write_bytes(altered)
        assert_refused_and_repaired(compiled, artefact)


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 4096, -4096, -32, -1])
def test_a_cut_artefact_is_compiled_again(
    compiled: CompileCache, artefact: Path, length: int
) -> None:
    """An artefact that lost its end is not loaded."""
    artefact.write_bytes(artefact.read_bytes()[:length])
    assert_refused_and_repaired(compiled, artefact)


def test_a_longer_artefact_is_compiled_again(compiled: CompileCache, artefact: Path) -> None:
    """An artefact with something appended is not loaded, whatever its size."""
    artefact.write_bytes(artefact.read_bytes() + bytes(32))
    assert_refused_and_repaired(compiled, artefact)
    os.truncate(artefact, 1 << 40)
    assert_refused_and_repaired(compiled, artefact)


def test_an_artefact_in_the_place_of_another_is_refused(
    compiled: CompileCache, artefact: Path
) -> None:
    """A genuine artefact is not loaded for another module."""
    compiled.compile(engine(False), module(43), PATH)
    (artefact.parent / artefact_name(module(43))).replace(artefact)
    assert_refused_and_repaired(compiled, artefact)


def test_an_artefact_of_another_installation_is_refused(
    compiled: CompileCache, artefact: Path, tmp_path: Path
) -> None:
    """What was signed with another key is not loaded."""
    other = CompileCache(tmp_path / "other", MIB)
    other.compile(engine(False), WASM, PATH)
    (tmp_path / "other" / artefact.name).replace(artefact)
    assert_refused_and_repaired(compiled, artefact)


@posix
@pytest.mark.parametrize("mode", [0o000, 0o644, 0o660, 0o602])
def test_an_artefact_that_others_may_touch_is_refused(
    compiled: CompileCache, artefact: Path, mode: int
) -> None:
    """An artefact of a wrong mode is compiled again, and the new one is private."""
    artefact.chmod(mode)
    if mode or os.geteuid():  # root reads whatever the mode, and nobody else may
        assert_refused_and_repaired(compiled, artefact)


def _symlink(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


@posix
@pytest.mark.parametrize("replace", [_symlink, _pipe])
def test_only_a_regular_file_is_an_artefact(
    compiled: CompileCache, artefact: Path, replace: Callable[[Path], None]
) -> None:
    """A symlink is not followed, a pipe not waited for; a regular file takes their place."""
    replace(artefact)
    assert_refused_and_repaired(compiled, artefact)


@posix
def test_a_foreign_owner_is_refused(
    compiled: CompileCache, artefact: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """An artefact, or a folder, of another user is not used."""
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    assert answer(compiled.compile(engine(False), WASM, PATH), engine(False)) == 42
    assert counts(compiled) == (0, 2, 0, 1)
    assert f"belongs to user {uid}, not to {uid + 1}; give the cache a folder" in caplog.text


@posix
def test_root_leaves_the_cache_of_its_workers_user_alone(
    compiled: CompileCache, artefact: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """A root master compiles for itself, and says so in one line of information."""
    lstat = os.lstat

    def of_user_7(path: Any) -> os.stat_result:
        return os.stat_result(7 if index == 4 else each for index, each in enumerate(lstat(path)))

    caplog.set_level("INFO", "plugin_host")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "lstat", of_user_7)
    for _ in range(2):
        assert answer(compiled.compile(engine(False), WASM, PATH), engine(False)) == 42
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "INFO",
            "compile cache: root does not use user 7's compile cache; its workers do, as that user",
        )
    ]
    assert kept(artefact.parent) == {artefact.name}


def _wrong_bytes(key: Path) -> None:
    key.write_bytes(bytes(32))


def _short(key: Path) -> None:
    key.write_bytes(key.read_bytes()[:31])


def _long(key: Path) -> None:
    key.write_bytes(key.read_bytes() + b"x")


def _readable(key: Path) -> None:
    key.chmod(0o644)


def _linked(key: Path) -> None:
    key.rename(key.with_name("other"))
    key.symlink_to("other")


@posix
@pytest.mark.parametrize("spoil", [Path.unlink, _wrong_bytes, _short, _long, _readable, _linked])
def test_artefacts_of_a_doubtful_key_are_refused(
    compiled: CompileCache, artefact: Path, spoil: Callable[[Path], None]
) -> None:
    """When the key is lost, or others may have read it, there is a new one, and all is anew."""
    key = artefact.parent / "key"
    spoil(key)
    assert_refused_and_repaired(compiled, artefact)
    info = key.lstat()
    assert (info.st_size, info.st_mode & 0o7777) == (32, 0o600)


def test_a_refusal_is_one_line_that_names_the_file(
    compiled: CompileCache, artefact: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The operator reads which artefact was altered."""
    artefact.write_bytes(bytes(100))
    compiled.compile(engine(False), WASM, PATH)
    assert [record.getMessage() for record in caplog.records] == [
        f"compile cache: {artefact} is not loaded but compiled again: it is not what was written"
    ]


@linux
def test_what_was_verified_is_what_is_mapped(
    compiled: CompileCache, artefact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file put in an artefact's place after it was verified is not loaded."""
    is_at = artefacts.Artefact.is_at

    def swapped(self: artefacts.Artefact, path: str) -> bool:
        other = engine(False).compile(module(666), PATH).serialize()
        (artefact.parent / "new").write_bytes(other)
        (artefact.parent / "new").replace(artefact)
        return is_at(self, path)

    monkeypatch.setattr(artefacts.Artefact, "is_at", swapped)
    assert answer(compiled.compile(engine(False), WASM, PATH), engine(False)) == 42
    assert counts(compiled) == (1, 1, 0, 0)


def test_where_files_cannot_be_executed_they_are_copied(
    compiled: CompileCache, artefact: Path, monkeypatch: pytest.MonkeyPatch, chosen: Engine
) -> None:
    """On a file system mounted noexec the verified bytes are loaded instead of mapped."""

    def refuse(*args: Any) -> None:
        raise wasmtime.WasmtimeError("failed to make memory executable")

    monkeypatch.setattr(wasmtime.Module, "deserialize_file", refuse)
    assert answer(compiled.compile(chosen, WASM, PATH), chosen) == 42
    assert counts(compiled) == (1, 1, 0, 0)


def test_what_wasmtime_refuses_is_compiled_again(compiled: CompileCache, artefact: Path) -> None:
    """A signed artefact that wasmtime does not accept is a miss, not an error."""
    compiled.artefacts.save(artefact.name, b"no machine code")
    assert_refused_and_repaired(compiled, artefact)


# What is kept, and what goes


def aged(path: Path, seconds: float) -> Path:
    """A file last used so long ago."""
    then = time.time() - seconds
    os.utime(path, (then, then))
    return path


def kept(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()} - {"key"}


def test_use_is_noted_once_an_hour(compiled: CompileCache, artefact: Path) -> None:
    """Mapping an artefact renews its time only when that is more than an hour off."""
    recent = aged(artefact, 3000).stat().st_mtime
    compiled.compile(engine(False), WASM, PATH)
    assert artefact.stat().st_mtime == recent
    for off in (4000, -4000):
        old = aged(artefact, off).stat().st_mtime
        compiled.compile(engine(False), WASM, PATH)
        assert artefact.stat().st_mtime != old


def test_the_least_recently_used_goes_first(directory: Path) -> None:
    """Over its size the cache drops artefacts of other releases, then the longest unused.

    It drops more than it must, not to be over its size again at once.
    """
    names = [artefact_name(module(number)) for number in range(4)]
    one = CompileCache(directory, MIB)
    for number in range(3):
        one.compile(engine(False), module(number), PATH)
    size = (directory / names[0]).stat().st_size
    foreign = directory / f"0.1-{'0' * 64}.cwasm"
    foreign.write_bytes(bytes(size))
    for name, age in zip(names, (200, 300, 100), strict=False):
        aged(directory / name, age)

    CompileCache(directory, 4 * size * 8 // 7 + 99).compile(engine(False), module(3), PATH)
    assert kept(directory) == set(names)
    small = CompileCache(directory, 2 * size * 8 // 7 + 99)
    small.artefacts.prune(keep=names[1])
    assert kept(directory) == {names[1], names[3]}
    small.artefacts.prune(keep=names[1])
    assert kept(directory) == {names[1], names[3]}


def test_the_folder_is_looked_through_now_and_then(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with each artefact, of which there may be thousands; and yet it never holds too much."""
    workers = [Artefacts(directory, MIB) for _ in range(4)]
    looks = []
    prune = Artefacts.prune
    monkeypatch.setattr(Artefacts, "prune", lambda *a, **k: (looks.append(1), prune(*a, **k)))
    totals = []
    for number in range(1500):
        workers[number % 4].save(f"1.0-{number:064x}.cwasm", bytes(1000))
        if number % 5 == 0:
            totals.append(workers[0].total())
    assert max(totals) <= MIB
    assert min(totals[-60:]) >= MIB * 0.8
    assert 4 <= len(looks) <= 150


def test_a_mapped_module_outlives_its_artefact(compiled: CompileCache, artefact: Path) -> None:
    """Pruning does not disturb a worker that runs what is pruned."""
    mapped = compiled.compile(engine(False), WASM, PATH)
    artefact.unlink()
    assert answer(mapped, engine(False)) == 42


def test_a_module_over_the_limit_is_compiled_and_not_kept(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A module larger than the cache is compiled each time, and the log says so once."""
    tiny = CompileCache(directory, 100)
    for _ in range(2):
        assert answer(tiny.compile(engine(False), WASM, PATH), engine(False)) == 42
    assert counts(tiny) == (0, 2, 0, 2)
    assert kept(directory) == set()
    (record,) = caplog.records
    assert "is over the cache's limit" in record.getMessage()


@posix
def test_leftovers_of_dead_processes_are_removed(compiled: CompileCache, artefact: Path) -> None:
    """Free locks and old temporary files go; held locks, young files and others' files stay."""
    directory = artefact.parent
    free = directory / f"1.0-{'1' * 64}.cwasm.lock"
    held = directory / f"1.0-{'2' * 64}.cwasm.lock"
    old, young = directory / f".{'3' * 16}.tmp", directory / f".{'4' * 16}.tmp"
    others = directory / "notes.tmp"
    for path in (free, old, young, others):
        path.touch()
    for path in (old, others):
        aged(path, 4000)
    lock = locking.acquire(held, 0)
    assert lock
    compiled.artefacts.prune(keep=artefact.name)
    assert kept(directory) == {artefact.name, held.name, young.name, others.name}
    lock.remove(held)
    assert kept(directory) == {artefact.name, young.name, others.name}


# Locks and priority


@posix
def test_a_lock_excludes_and_is_handed_on(tmp_path: Path) -> None:
    """Of several that want a lock one has it, each gets it in the end, and no file is left."""
    path = tmp_path / "lock"
    first = locking.acquire(path, 0)
    assert first
    assert not locking.acquire(path, 0.01)
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        lock = locking.acquire(path, 60)
        assert lock
        inside.append(1)
        most.append(len(inside))
        inside.pop()
        lock.remove(path)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    first.remove(path)
    for thread in threads:
        thread.join()
    assert most == [1] * 6
    assert not path.exists()


@posix
def test_a_lock_on_a_removed_file_does_not_count(tmp_path: Path) -> None:
    """Who locks a file that is no longer at the path has not got the lock."""
    path = tmp_path / "lock"
    first = locking.acquire(path, 0)
    assert first
    path.unlink()
    second = locking.acquire(path, 0)
    assert second
    first.remove(path)  # which must not remove the second one's file
    locking.remove_if_free(path)  # nor must this
    assert path.exists()
    second.remove(path)
    assert not path.exists()


@posix
def test_a_lock_file_that_goes_while_it_is_taken_is_taken_again(tmp_path: Path) -> None:
    """Who opened the file just before its holder removed it starts again with a new one."""
    path = tmp_path / "lock"
    removed: list[int] = []

    def late(path: Path) -> int:
        fd = open_private(path)
        if not removed:
            removed.append(fd)
            path.unlink()
        return fd

    lock = locking.acquire(path, 60, late)
    assert lock
    assert not locking.acquire(path, 0)
    lock.remove(path)


def test_memory_is_trimmed_after_a_compile_only(
    compiled: CompileCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compile gives its memory back; a mapping has none to give."""
    trims: list[int] = []
    monkeypatch.setattr(cache, "trim_memory", lambda: trims.append(1))
    compiled.compile(engine(False), WASM, PATH)
    compiled.compile(engine(False), WASM, PATH)
    assert trims == [1]


def test_trimming_works_or_does_nothing_here() -> None:
    """Whatever the C library, trimming is harmless."""
    trim_memory()


def test_waiting_is_bounded(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    """When another worker has not done after the wait, this one compiles too, and says so."""
    impatient = CompileCache(directory, MIB, wait=(0.01, 0.02))
    directory.mkdir(parents=True, mode=0o700)
    path = directory / f"{artefact_name(WASM)}.lock"
    lock = locking.acquire(path, 0)
    assert lock
    made = impatient.compile(engine(False), WASM, PATH, background=True)
    assert answer(made, engine(False)) == 42
    assert counts(impatient) == (0, 1, 0, 0)
    assert "has been compiling the same module for 0.02 s" in caplog.text
    lock.remove(path)
