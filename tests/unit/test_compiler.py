"""Compiling under a budget, by a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from time import monotonic

import pytest
from wasm_bytes import (
    HEADER,
    LOCAL_0,
    body,
    changing_loops,
    functions,
    leb,
    nested_loops,
    section,
)

from plugin_host.compilecache.cache import CompileCache
from plugin_host.errors import ModuleError
from plugin_host.wasm import compiler, engine
from plugin_host.wasm.compiler import OverBudget, Unavailable, compile_apart, is_harmless
from plugin_host.wasm.engine import Engine, wat_to_wasm
from plugin_host.wasm.instance import Limits
from plugin_host.wasm.runtime import choose_engine, link

PATH = Path("guest.wasm")
#: Large enough for a process of its own, and compiled in no time.
LARGE = wat_to_wasm(
    b'(module (func (export "f") (param i32) (result i64)' + b" nop" * 9000 + b" (i64.const 42)))",
    PATH,
)
#: Would take seconds.
SLOW = nested_loops(6000)


@pytest.fixture
def chosen(fast_call: bool) -> Engine:
    return choose_engine(fast_call)


@pytest.fixture(autouse=True)
def nothing_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test begins with nothing remembered."""
    monkeypatch.setattr(compiler, "_abandoned", {})
    engine._log_unlimited.cache_clear()


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting a process that compiles is an error."""

    def run(_data: bytes) -> tuple[bytes, int]:
        raise AssertionError("a process was started")

    monkeypatch.setattr(compiler, "_run", run)


@pytest.mark.parametrize(
    ("wasm", "harmless"),
    [
        (HEADER, True),
        (functions(body(b"\1" * 1000 + LOCAL_0)), True),
        (functions(body(b"\1" * 1200 + LOCAL_0)), False),
        (functions(*[body(b"\1" * 500 + LOCAL_0)] * 7), True),
        (functions(*[body(b"\1" * 500 + LOCAL_0)] * 9), False),
        (functions(*[body(LOCAL_0)] * 1500), True),
        (functions(*[body(LOCAL_0)] * 1600), False),
        (functions(body(LOCAL_0, leb(1000) + b"\x7f")), True),
        (functions(body(LOCAL_0, *[leb(600) + b"\x7f"] * 2)), False),
        (changing_loops(130, 120), False),
        (HEADER + section(0, b"\0" + bytes(100_000)), True),
        (HEADER + section(10, leb(3) + b"\5"), True),
        (b"no module", True),
    ],
)
def test_only_code_that_may_take_long_is_compiled_apart(wasm: bytes, harmless: bool) -> None:
    """What decides is how large functions are, and that in its cube; data is nothing."""
    assert is_harmless(wasm, background=False) is harmless


@pytest.mark.parametrize(("functions_", "harmless"), [(600, True), (700, False)])
def test_what_serves_goes_before_a_compile_that_nobody_waits_for(
    functions_: int, harmless: bool
) -> None:
    """While requests are served, what takes a tenth of a second is compiled by a process."""
    wasm = functions(*[body(LOCAL_0)] * functions_)
    assert is_harmless(wasm, background=False)
    assert is_harmless(wasm, background=True) is harmless


def test_a_module_compiled_apart_runs(chosen: Engine) -> None:
    """What the other process has compiled is loaded by either engine."""
    assert not is_harmless(LARGE, background=False)
    linked = link(chosen, chosen.compile(LARGE, PATH), (), PATH)
    instance = linked.instance(Limits(), monotonic(), 5.0)
    assert instance.function("f")(0, monotonic(), 5.0) == 42


def test_without_the_librarys_names_the_package_compiles(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where a release of wasmtime has other names, the process imports the package."""
    chosen, told = choose_engine(True), []
    if not chosen.fast:
        pytest.skip("this wasmtime has no fast calls")
    run = compiler._run
    monkeypatch.setattr(compiler, "_run", lambda data: (told.append(data), run(data))[1])
    for name in ("wasmtime_config_{}_set", "wasmtime_config_{}_sett"):
        monkeypatch.setattr("plugin_host.wasm.bindings.OPTION", name)
        link(chosen, chosen.compile(LARGE, PATH), (), PATH)
    libraries = [json.loads(data.partition(b"\n")[0])["library"] for data in told]
    assert Path(libraries[0]).is_file()
    assert libraries[1:] == [None]
    assert not caplog.records


def test_an_engine_that_counts_fuel_has_its_code_compiled_apart(fast_call: bool) -> None:
    """The other process compiles for the engine that asks."""
    metered = choose_engine(fast_call, metered=True)
    link(metered, metered.compile(LARGE, PATH), (), PATH)


def test_an_invalid_module_is_refused_in_the_engines_words(chosen: Engine) -> None:
    """A refusal reads the same from the other process."""
    with pytest.raises(ModuleError, match=r"is not a valid WebAssembly module: .*type mismatch"):
        chosen.compile(functions(body(b"\1" * 9000)), PATH)


def test_a_module_that_takes_too_long_is_abandoned(chosen: Engine) -> None:
    """Past its budget a compile ends, with an error that names the limit and its key."""
    with pytest.raises(ModuleError) as caught:
        chosen.compile(SLOW, PATH, budget=0.2)
    assert caught.value.reason == "takes more than 0.2 s of processor time to compile"
    assert "raise PLUGIN_HOST_COMPILE_TIMEOUT" in caught.value.remedy
    assert isinstance(caught.value.__cause__, OverBudget)


def test_a_module_that_takes_too_much_memory_is_abandoned(
    chosen: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiler's memory has a bound, and reaching it does not touch this process."""
    monkeypatch.setattr(compiler, "MAX_MEMORY", 160 << 20)
    locals_ = 5000
    greedy = b"".join(
        LOCAL_0 + b"\x04\x40\x20" + leb(1 + i * 7 % locals_) + b"\x21" + leb(1 + i) + b"\x0b"
        for i in range(locals_)
    )
    used = b"".join(b"\x20" + leb(1 + i) for i in range(locals_)) + b"\x6a" * (locals_ - 1)
    loop = b"\x03\x40" + greedy + LOCAL_0 + b"\x0d\0\x0b"
    with pytest.raises(ModuleError, match="takes more than 160 MiB of memory to compile"):
        chosen.compile(functions(body(loop + used, leb(locals_) + b"\x7f")), PATH, budget=60)


def test_a_few_kilobytes_have_a_budget_too(chosen: Engine) -> None:
    """The worst code that is known would take this process a minute for 6 kB."""
    with pytest.raises(ModuleError, match=r"takes more than 0\.2 s of processor time"):
        chosen.compile(changing_loops(300, 127), PATH, budget=0.2)


def test_what_was_abandoned_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bytes under the same budget, or a smaller one, are refused at once."""
    with pytest.raises(OverBudget):
        compile_apart(SLOW, engine.options(False), 0.2, False)
    calls: list[int] = []
    monkeypatch.setattr(compiler, "_run", lambda _data: calls.append(1) or (b"", 1))
    for budget in (0.2, 0.1):
        with pytest.raises(OverBudget, match=r"more than 0\.2 s"):
            compile_apart(SLOW, engine.options(False), budget, False)
    assert calls == []
    with pytest.raises(Unavailable):
        compile_apart(SLOW, engine.options(False), 0.3, False)
    assert calls == [1]


def test_what_one_worker_has_abandoned_no_other_tries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache keeps the verdict for all workers, until the budget is another."""
    chosen = choose_engine(True)
    with pytest.raises(ModuleError, match=r"takes more than 0\.2 s"):
        CompileCache(tmp_path / "cache", 1 << 20, budget=0.2).compile(chosen, SLOW, PATH)
    monkeypatch.setattr(compiler, "_abandoned", {})  # as in another process
    calls: list[int] = []
    monkeypatch.setattr(compiler, "_run", lambda _data: calls.append(1) or (b"+", 0))
    with pytest.raises(ModuleError, match=r"takes more than 0\.2 s"):
        CompileCache(tmp_path / "cache", 1 << 20, budget=0.2).compile(chosen, SLOW, PATH)
    assert calls == []
    with pytest.raises(ModuleError, match="breaks the compiler"):
        CompileCache(tmp_path / "cache", 1 << 20, budget=0.3).compile(chosen, SLOW, PATH)
    assert calls == [1]


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (-27, "takes more than 0.001 s of processor time"),
        (0, "takes more than 0.001 s of processor time"),  # somebody else took the status
        (-6, "MiB of memory to compile"),
    ],
)
def test_an_answer_that_is_not_whole_is_none(
    status: int, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was ended while it wrote has compiled nothing."""
    begun = monotonic()

    def run(_data: bytes) -> tuple[bytes, int]:
        while monotonic() < begun + 0.002:
            pass
        return b"+=" + (100).to_bytes(8, "little") + b"half", status

    monkeypatch.setattr(compiler, "_run", run)
    with pytest.raises(OverBudget, match=why):
        compile_apart(LARGE, engine.options(False), 0.001, False)


def test_harmless_modules_need_no_process(no_process: None, chosen: Engine) -> None:
    """Small plugins load without the time that a process takes."""
    chosen.compile(functions(body(LOCAL_0)), PATH)


@pytest.mark.parametrize("executable", ["", "/usr/bin/uwsgi", "/nowhere/python"])
def test_without_another_process_this_one_compiles(
    executable: str,
    chosen: Engine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where Python cannot be started again, modules load all the same, and the log says so once."""
    monkeypatch.setattr(sys, "executable", executable)
    for _ in range(2):
        chosen.compile(LARGE, PATH)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "modules are compiled in this process, without limits of time" in caplog.text


@pytest.mark.parametrize(("background", "nice"), [(True, compiler.NICE), (False, 0)])
def test_only_what_nobody_waits_for_is_compiled_at_low_priority(
    background: bool, nice: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reload while serving leaves the processor to requests; a start does not wait for them."""
    given: list[bytes] = []
    monkeypatch.setattr(compiler, "_run", lambda data: given.append(data) or (b"", 1))
    with pytest.raises(Unavailable):
        compile_apart(LARGE, engine.options(False), 1.0, background)
    assert json.loads(given[0].partition(b"\n")[0])["nice"] == nice


_GEVENT = """
from gevent import monkey; monkey.patch_all()
import gevent, sys
from pathlib import Path
from plugin_host import osthread
from plugin_host.wasm.runtime import choose_engine

gevent.sleep(0)  # there is a hub, as in a worker
wasm = sys.stdin.buffer.read()
chosen = choose_engine(True)
chosen.compile(wasm, Path("main.wasm"))
done = []
thread = osthread.start(lambda: done.append(chosen.compile(wasm, Path("thread.wasm"))), "compile")
assert thread.join(60)
print(len(done))
"""


@pytest.mark.gevent
def test_compiles_apart_under_gevent() -> None:
    """With gevent's patching it works in the main thread, and in a real one beside the hub."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", _GEVENT],
        input=LARGE,
        capture_output=True,
        timeout=120,
    )
    assert (ran.stdout, ran.stderr) == (b"1\n", b"")
