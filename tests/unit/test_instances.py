"""Instances: calls, memory, traps, host functions and limits, in both ways of calling."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest
import wasmtime

from plugin_host.errors import (
    DeadlineExceeded,
    GuestTrap,
    HookError,
    ImportDenied,
    ModuleError,
)
from plugin_host.wasm import bindings
from plugin_host.wasm.engine import Engine, engine, wat_to_wasm
from plugin_host.wasm.instance import HostFunction, Instance, Limits, Linked
from plugin_host.wasm.runtime import choose_engine, link
from plugin_host.wasm.selfcheck import self_check

PATH = Path("guest.wat")
Make = Callable[..., Linked]


@pytest.fixture
def make(fast_call: bool) -> Make:
    """Compile and link a module given as text."""

    def linked(text: str, *functions: HostFunction) -> Linked:
        chosen = choose_engine(fast_call)
        assert chosen.fast is fast_call
        module = chosen.compile(wat_to_wasm(text.encode(), PATH), PATH)
        return link(chosen, module, functions, PATH)

    return linked


def start(linked: Linked, limits: Limits | None = None, timeout: float = 5.0) -> Instance:
    return linked.instance(limits or Limits(), monotonic(), timeout)


def call(instance: Instance, name: str, argument: int = 0, timeout: float = 5.0) -> int:
    return instance.function(name)(argument, monotonic(), timeout)


def test_a_call_passes_an_argument_and_returns_a_signed_i64(make: Make) -> None:
    """An i32 argument arrives, and all 64 bits of the result come back, signed."""
    guest = start(
        make("""(module (func (export "f") (param i32) (result i64)
            (i64.sub (i64.extend_i32_u (local.get 0)) (i64.const 10))))""")
    )
    assert [call(guest, "f", n) for n in (0, 10, 0xFFFF_FFFF)] == [-10, 0, 0xFFFF_FFF5]


def test_memory_is_read_and_written_in_place(make: Make) -> None:
    """The host and the guest see the same linear memory."""
    guest = start(
        make("""(module (memory (export "memory") 1)
            (func (export "double") (param i32) (result i64)
              (i32.store8 (local.get 0) (i32.mul (i32.const 2) (i32.load8_u (local.get 0))))
              (i64.const 0)))""")
    )
    guest.write(100, bytes((21, 7)))
    call(guest, "double", 100)
    assert guest.read(99, 4) == bytes((0, 42, 7, 0))


@pytest.mark.parametrize(
    ("pointer", "length"),
    [(65_536, 1), (65_535, 2), (0, 65_537), (0xFFFF_FFFF, 1), (0, 0xFFFF_FFFF), (-1, 1), (-8, 8)],
)
def test_nothing_outside_the_memory_is_touched(make: Make, pointer: int, length: int) -> None:
    """A read or write that leaves the memory is an error, and changes nothing."""
    guest = start(make('(module (memory (export "memory") 1))'))
    with pytest.raises(GuestTrap, match="outside the guest's memory of 65536 bytes"):
        guest.read(pointer, length)
    with pytest.raises(GuestTrap, match="outside"):
        guest.write(pointer, b"x" * min(length, 70_000))
    assert guest.read(0, 65_536) == bytes(65_536)


def test_memory_that_grew_is_seen_in_full(make: Make) -> None:
    """What a guest writes into pages it has just got can be read."""
    guest = start(
        make("""(module (memory (export "memory") 1)
            (func (export "grow") (param i32) (result i64)
              (drop (memory.grow (i32.const 3)))
              (i32.store8 (i32.const 262143) (i32.const 9)) (i64.const 0)))""")
    )
    before = guest.memory_size()
    call(guest, "grow")
    guest.write(200_000, b"new")
    assert (before, guest.memory_size()) == (65_536, 262_144)
    assert (guest.read(262_143, 1), guest.read(200_000, 3)) == (b"\x09", b"new")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("unreachable", "unreachable"),
        ("(i64.load (i32.const 70000))", "memory_out_of_bounds"),
        ("(i64.div_u (i64.const 1) (i64.const 0))", "integer_division_by_zero"),
        ("(call $f (i32.const 0))", "stack_overflow"),
        ("(call_indirect (type $t) (i32.const 0) (i32.const 0))", "indirect_call_to_null"),
        ("(call_indirect (type $t) (i32.const 0) (i32.const 9))", "table_out_of_bounds"),
        ("(call_indirect (type $t) (i32.const 0) (i32.const 1))", "bad_signature"),
    ],
)
def test_a_trap_carries_its_code_and_the_guests_function_names(
    make: Make, body: str, code: str
) -> None:
    """Whatever traps is a GuestTrap with wasm's trap code and the backtrace."""
    guest = start(
        make(f"""(module $shop (memory (export "memory") 1) (table 4 funcref)
            (type $t (func (param i32) (result i64))) (elem (i32.const 1) $other)
            (func $other)
            (func $inner (param i32) (result i64) {body.replace("$f", "$inner")})
            (func $outer (export "f") (param i32) (result i64) (call $inner (local.get 0))))""")
    )
    with pytest.raises(GuestTrap) as caught:
        call(guest, "f")
    assert caught.value.code == code
    assert caught.value.frames[0].endswith("inner")
    if code != "stack_overflow":
        assert caught.value.frames[1].endswith("outer")


def test_an_endless_loop_misses_its_deadline_and_a_neighbour_is_untouched(make: Make) -> None:
    """A short deadline ends its own call only; a longer call running beside it goes on."""
    linked = make("""(module (memory (export "memory") 1)
        (func (export "spin") (param i32) (result i64)
          (loop (br_if 0 (i32.eqz (i32.load8_u (i32.const 0))))) (i64.const 7)))""")
    patient, hasty = start(linked), start(linked)
    answers: list[int] = []
    other = threading.Thread(target=lambda: answers.append(call(patient, "spin", timeout=30)))
    other.start()
    began = monotonic()
    with pytest.raises(DeadlineExceeded, match="missed its deadline of 30 ms"):
        call(hasty, "spin", timeout=0.03)
    assert monotonic() - began >= 0.03
    patient.write(0, b"\x01")  # only this ends it
    other.join(30)
    assert answers == [7]


def test_a_guest_that_is_entered_late_may_still_answer(make: Make) -> None:
    """A deadline that passed while the thread waited, and old ticks, do not end a quick call."""
    linked = make("""(module (func (export "spin") (loop (br 0)))
        (func (export "quick") (param i32) (result i64) (i64.const 5)))""")
    guest = start(linked)
    quick = guest.function("quick")
    for _ in range(3):  # each leaves ticks behind
        with pytest.raises(DeadlineExceeded):
            call(start(linked), "spin", timeout=0.005)
        assert quick(0, monotonic() - 10.0, 0.05) == 5


def test_a_start_section_that_loops_misses_its_deadline(make: Make) -> None:
    """Instantiation runs under a deadline too."""
    linked = make("(module (func $s (loop (br 0))) (start $s))")
    with pytest.raises(DeadlineExceeded):
        start(linked, timeout=0.02)


def test_a_host_functions_arguments_are_unsigned_and_its_result_returns(make: Make) -> None:
    """Integers from a guest are taken as unsigned, whatever their sign bit says."""
    seen: list[tuple[int, int]] = []

    def host(instance: Instance, a: int, b: int) -> int:
        seen.append((a, b))
        return 0xFFFF_FFFF_FFFF_FFFE

    guest = start(
        make(
            """(module (import "m" "h" (func $h (param i32 i64) (result i64)))
            (func (export "f") (param i32) (result i64)
              (call $h (i32.const -1) (i64.const -1))))""",
            HostFunction("m", "h", ("i32", "i64"), ("i64",), host),
        )
    )
    assert call(guest, "f") == -2
    assert seen == [(0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF)]


def _raising(kind: type[BaseException]) -> HostFunction:
    def host(instance: Instance) -> None:
        raise kind("stop")

    return HostFunction("m", "h", (), (), host)


_CALLS_HOST = """(module (import "m" "h" (func $h))
    (func (export "f") (param i32) (result i64) (call $h) (i64.const 0)))"""


def test_a_host_functions_exception_ends_the_call_as_a_guest_trap(make: Make) -> None:
    """An unexpected exception in a host function is the cause of a GuestTrap, never lost."""
    guest = start(make(_CALLS_HOST, _raising(ValueError)))
    with pytest.raises(GuestTrap, match="a host function failed: ValueError") as caught:
        call(guest, "f")
    assert (caught.value.code, type(caught.value.__cause__)) == ("host", ValueError)


def test_a_failure_is_gone_when_it_has_been_handled(make: Make) -> None:
    """An error, and what its traceback holds of the request, does not wait for the collector."""

    def boom(instance: Instance) -> None:
        raise ValueError("boom")

    linked = make(
        """(module (import "m" "f" (func $f))
            (func (export "trap") (param i32) (result i64) unreachable)
            (func (export "host") (param i32) (result i64) (call $f) (i64.const 0))
            (func (export "loop") (param i32) (result i64) (loop (br 0)) (i64.const 0)))""",
        HostFunction("m", "f", (), (), boom),
    )
    gc.disable()
    try:
        for name in ("trap", "host", "loop"):
            errors: list[weakref.ref[HookError]] = []
            try:
                call(start(linked), name, timeout=0.05)
            except HookError as exc:
                errors.append(weakref.ref(exc))
            assert [error() for error in errors] == [None], name
    finally:
        gc.enable()


@pytest.mark.parametrize("kind", [GuestTrap, KeyboardInterrupt, SystemExit])
def test_errors_meant_for_the_caller_pass_through_the_guest(
    make: Make, kind: type[BaseException]
) -> None:
    """Our own errors, and those that end the process, arrive as they were raised."""
    guest = start(make(_CALLS_HOST, _raising(kind)))
    with pytest.raises(kind, match=r"^stop( \(in <wasm function 1>\))?$"):
        call(guest, "f")


def test_a_trap_that_a_host_function_raises_says_who_called(make: Make, fast_call: bool) -> None:
    """What a guest asked for wrongly is told with the guest's functions."""
    named = _CALLS_HOST.replace("(func (export", "(func $asks (export")
    guest = start(make(named, _raising(GuestTrap)))
    with pytest.raises(GuestTrap) as caught:
        call(guest, "f")
    assert caught.value.frames == (("asks",) if fast_call else ())


def test_hammer_host_exceptions_reach_only_their_own_caller(make: Make) -> None:
    """Threads whose host functions raise never see each other's exceptions."""
    rounds, wrong = 300, []

    def work(mine: type[Exception] | None) -> None:
        text = _CALLS_HOST if mine else _CALLS_HOST.replace("(call $h)", "unreachable")
        linked = make(text, _raising(mine or ValueError))
        for _ in range(rounds):
            guest = start(linked)
            try:
                call(guest, "f")
            except HookError as exc:
                if mine is not None and type(exc.__cause__) is not mine:
                    wrong.append(repr(exc))
                if mine is None and getattr(exc, "code", "") == "host":
                    wrong.append(repr(exc))

    threads = [threading.Thread(target=work, args=(e,)) for e in (ValueError, KeyError, None)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


def test_memory_stops_growing_at_the_cap(make: Make) -> None:
    """memory.grow beyond the cap gives the guest -1, and the instance lives on."""
    guest = start(
        make("""(module (memory (export "memory") 1)
            (func (export "grow") (param i32) (result i64)
              (i64.extend_i32_s (memory.grow (local.get 0)))))"""),
        Limits(memory=3 * 65_536),
    )
    assert [call(guest, "grow", pages) for pages in (3, 2, 1)] == [-1, 1, -1]


@pytest.mark.parametrize(
    "text",
    [
        '(module (memory (export "memory") 4))',
        "(module (table 70000 funcref))",
    ],
)
def test_a_module_that_needs_more_than_its_limits_is_not_instantiated(
    make: Make, text: str
) -> None:
    """A minimum above the cap is an error with the reason."""
    with pytest.raises(GuestTrap, match=r"exceeds .* limits"):
        start(make(text), Limits(memory=65_536))


@pytest.mark.parametrize(
    "text",
    [
        "(module (memory 1) (memory 1))",
        "(module (memory i64 1))",
        "(module (memory 1 1 shared))",
        "(module (func (result (ref null none)) (ref.null none)))",
    ],
    ids=["multi-memory", "memory64", "threads", "gc"],
)
def test_a_proposal_that_is_off_is_refused_at_compilation(fast_call: bool, text: str) -> None:
    """Only the listed WebAssembly features are accepted."""
    chosen = choose_engine(fast_call)
    with pytest.raises(ModuleError, match="is not a valid WebAssembly module"):
        chosen.compile(wat_to_wasm(text.encode(), PATH), PATH)


@pytest.mark.skipif(
    not hasattr(wasmtime.Linker, "instantiate_pre"),
    reason="older releases resolve imports when they instantiate; the loader checks them before",
)
def test_an_import_that_no_host_function_satisfies_is_refused(make: Make) -> None:
    """Linking names what is missing."""
    with pytest.raises(ImportDenied, match="nowhere"):
        make('(module (import "nowhere" "f" (func)))')


def test_text_that_does_not_assemble_is_refused_with_its_place() -> None:
    """A syntax error in WAT is a ModuleError with the assembler's message."""
    with pytest.raises(ModuleError, match=r"guest\.wat: is not valid WebAssembly text"):
        wat_to_wasm(b"(module (func $f", PATH)
    with pytest.raises(ModuleError, match="text"):
        wat_to_wasm(b"\xff\xfe", PATH)


def test_the_bindings_pass_their_self_check() -> None:
    """The installed wasmtime's private bindings are the ones that the fast call knows."""
    self_check(engine(True))


def test_a_self_check_leaves_no_instance() -> None:
    """What it mapped is given back at once, not when the garbage collector comes."""
    checked = engine(True)
    gc.collect()
    gc.disable()
    try:
        self_check(checked)
        assert len(checked.watchdog._watched) == 0
    finally:
        gc.enable()


def test_a_wasmtime_with_other_bindings_falls_back_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When the self-check fails, calls go through the public API, and the log says why."""
    from plugin_host.wasm import runtime

    monkeypatch.setattr(bindings, "_SYMBOLS", {"wasmtime_func_call_unchecked": 99})
    bindings.api.cache_clear()
    runtime.fast_engine.cache_clear()
    try:
        assert choose_engine(True) is engine(False)
        assert "the fast call is off" in caplog.text
        assert "wasmtime_func_call_unchecked" in caplog.text
    finally:
        monkeypatch.undo()
        bindings.api.cache_clear()
        runtime.fast_engine.cache_clear()
    assert choose_engine(True) is engine(True)


def test_an_engine_is_made_once_per_process_and_way() -> None:
    """Apps share one engine."""
    assert engine(True) is engine(True)
    assert isinstance(engine(True), Engine)
    assert engine(False) is not engine(True)
