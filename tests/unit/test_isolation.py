"""Isolation: with ``isolation = "request"`` no call finds anything that another one left."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from guests import HEAP, MakeApp, module, packed
from hypothesis import given, settings
from hypothesis import strategies as st

from plugin_host.abi.guest import Guest, RestoredGuest
from plugin_host.config import Settings
from plugin_host.errors import ConfigError, GuestError, ModuleError
from plugin_host.loading.making import Maker
from plugin_host.manifest import Limits, Manifest, effective_limits
from plugin_host.modules.binary import read_module
from plugin_host.modules.rewriting import KEEP, restorable
from plugin_host.wasm import pages, snapshot
from plugin_host.wasm.engine import Engine, engine, wat_to_wasm

PATH = Path("guest.wat")
HOOK = "ask"
NOTHING = "(i64.const 0)"

#: By what a guest may remember in: its definitions, and code that leaves on the stack, as an i64,
#: what it finds, and changes it.
MEMORIES: dict[str, tuple[str, str]] = {
    "memory": (
        "",
        "(i64.load (i32.const 200000)) (i64.store (i32.const 200000) (i64.const 7))",
    ),
    "memory that was data": (
        '(data (i32.const 66000) "\\01\\02\\03\\04\\05\\06\\07\\08")',
        "(i64.load (i32.const 66000)) (i64.store (i32.const 66000) (i64.const 7))",
    ),
    "the exchange buffer": (
        "",
        f"(i64.load (i32.const {HEAP + 2048})) (i64.store (i32.const {HEAP + 2048}) (i64.const 7))",
    ),
    "the first and the last byte": (
        "",
        """(i64.add (i64.load8_u (i32.const 0)) (i64.load8_u (i32.const 262143)))
        (i32.store8 (i32.const 0) (i32.const 1)) (i32.store8 (i32.const 262143) (i32.const 1))""",
    ),
    "memory filled at once": (
        "",
        """(i64.load (i32.const 131072))
        (memory.fill (i32.const 131072) (i32.const 7) (i32.const 65536))""",
    ),
    "a global": (
        "(global $g (mut i64) (i64.const 3))",
        "(global.get $g) (global.set $g (i64.add (global.get $g) (i64.const 1)))",
    ),
    "an exported global": (
        '(global $g (export "g") (mut i32) (i32.const 3))',
        """(i64.extend_i32_u (global.get $g))
        (global.set $g (i32.add (global.get $g) (i32.const 1)))""",
    ),
    "an f32 global": (
        "(global $k f32 (f32.const 1)) (global $g (mut f32) (f32.const 2.5))",
        """(i64.extend_i32_u (i32.reinterpret_f32 (global.get $g)))
        (global.set $g (f32.add (global.get $g) (global.get $k)))""",
    ),
    "an f64 global": (
        "(global $g (mut f64) (f64.const 2.5))",
        """(i64.reinterpret_f64 (global.get $g))
        (global.set $g (f64.mul (global.get $g) (f64.const 2)))""",
    ),
    "a v128 global": (
        "(global $g (mut v128) (v128.const i64x2 1 2))",
        """(i64x2.extract_lane 1 (global.get $g))
        (global.set $g (i64x2.add (global.get $g) (global.get $g)))""",
    ),
    "a funcref global": (
        "(global $g (mut funcref) (ref.func $f)) (func $f) (elem declare func $f)",
        """(i64.extend_i32_u (ref.is_null (global.get $g)))
        (global.set $g (ref.null func))""",
    ),
    "an externref global": (
        "(global $g (mut externref) (ref.null extern)) (global $n (mut i64) (i64.const 0))",
        """(i64.extend_i32_u (ref.is_null (global.get $g)))
        (global.set $n (i64.add (global.get $n) (i64.const 1)))
        (i64.add (global.get $n))""",
    ),
    "many globals": (
        " ".join(f"(global $g{i} (mut i32) (i32.const {i}))" for i in range(200)),
        "(i64.extend_i32_u (global.get $g199)) "
        + " ".join(f"(global.set $g{i} (i32.const -1))" for i in range(200)),
    ),
    "a table": (
        "(table $t 4 funcref) (func $f) (elem declare func $f)",
        """(i64.extend_i32_u (ref.is_null (table.get $t (i32.const 2))))
        (table.set $t (i32.const 2) (ref.func $f))""",
    ),
    "a grown table": (
        "(table $t 4 funcref)",
        """(i64.extend_i32_u (table.size $t))
        (drop (table.grow $t (ref.null func) (i32.const 1)))""",
    ),
    "a filled table": (
        "(table $t 4 funcref) (func $f) (elem declare func $f)",
        """(i64.extend_i32_u (ref.is_null (table.get $t (i32.const 2))))
        (table.fill $t (i32.const 1) (ref.func $f) (i32.const 2))""",
    ),
    "a copied table": (
        "(table $t 4 funcref) (func $f) (elem (i32.const 0) $f)",
        """(i64.extend_i32_u (ref.is_null (table.get $t (i32.const 2))))
        (table.copy $t $t (i32.const 2) (i32.const 0) (i32.const 1))""",
    ),
    "a table from a segment": (
        "(table $t 4 funcref) (func $f) (elem $e func $f)",
        """(i64.extend_i32_u (ref.is_null (table.get $t (i32.const 2))))
        (table.init $t $e (i32.const 2) (i32.const 0) (i32.const 1))""",
    ),
    "grown memory": (
        "",
        "(i64.extend_i32_u (memory.size)) (drop (memory.grow (i32.const 1)))",
    ),
    "memory grown by hundreds": (
        "",
        """(i64.extend_i32_u (memory.size))
        (local.set $len (i32.const 300))
        (loop (drop (memory.grow (i32.const 1)))
          (br_if 0 (local.tee $len (i32.sub (local.get $len) (i32.const 1)))))""",
    ),
    "memory grown and written": (
        "",
        """(i64.extend_i32_u (memory.size))
        (i32.store (i32.shl (memory.grow (i32.const 2)) (i32.const 16)) (i32.const 9))""",
    ),
}
#: Segments that are gone trap when they are used again.
DROPPED = {
    "data": (
        '(data $d "abcd")',
        "(memory.init $d (i32.const 0) (i32.const 0) (i32.const 4)) (data.drop $d) (i64.const 7)",
    ),
    "elements": (
        "(table $t 4 funcref) (func $f) (elem $e func $f)",
        """(table.init $t $e (i32.const 2) (i32.const 0) (i32.const 1))
        (elem.drop $e) (i64.const 7)""",
    ),
}
#: What cannot be put back, so that a new instance is made for each call.
ANEW = {
    "a table",
    "a grown table",
    "a filled table",
    "a copied table",
    "a table from a segment",
}


def remembering(definitions: str, code: str) -> str:
    """A guest whose hook answers with 8 bytes: what it found."""
    answer = f"""(local $found i64) {code} (local.set $found)
        (i64.store (i32.const 1024) (local.get $found)) (i64.const {packed(1024, 8)})"""
    return module({HOOK: answer}, extra=definitions)


def maker(text: str, fast_call: bool = True, isolation: str = "request", **config: object) -> Maker:
    """What makes guests of this text."""
    wasm = wat_to_wasm(text.encode(), PATH)
    info = read_module(wasm)
    values = {"PLUGIN_HOST_FAST_CALL": fast_call, "PLUGIN_HOST_ISOLATION": isolation, **config}
    read = Settings.from_mapping(values, "/")
    manifest = Manifest(name="guest")
    limits = effective_limits(manifest, read)
    hooks = tuple(item.name for item in info.exports if item.name in (HOOK, "other"))
    return Maker(PATH, wasm, info, hooks, manifest, limits, (), read, None, False)


class Calls:
    """Calls one guest after the other, as a plugin's pool would."""

    def __init__(self, make: Maker) -> None:
        self.make = make
        self.guest: Guest | None = None
        self.made = 0

    def __call__(self, data: bytes = b"", hook: str = HOOK) -> bytes | None:
        if self.guest is None:
            self.guest, self.made = self.make(monotonic(), 10.0), self.made + 1
        guest = self.guest
        try:
            return guest.call(hook, data, monotonic(), 10.0)
        finally:
            guest.calls += 1
            if guest.seconds >= guest.due and guest.is_worn():
                self.guest = None


@pytest.fixture(params=["tracked", "copied"])
def tracking(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Where the system tells which pages were written, and where it does not."""
    if request.param == "tracked":
        if not pages.is_known():
            pytest.skip("this system does not tell which pages have been written")
        return True
    monkeypatch.setattr(snapshot.pages, "is_known", lambda: False)
    return False


@pytest.mark.usefixtures("tracking")
@pytest.mark.parametrize("kind", MEMORIES)
def test_nothing_is_remembered(kind: str, fast_call: bool) -> None:
    """Whatever a guest changes, the next call finds what the first one found."""
    calls = Calls(maker(remembering(*MEMORIES[kind]), fast_call))
    found = [calls() for _ in range(5)]
    assert found == [found[0]] * 5


@pytest.mark.parametrize("kind", MEMORIES)
def test_a_shared_instance_remembers(kind: str) -> None:
    """The same guests do remember where they may: each of them proves something."""
    calls = Calls(maker(remembering(*MEMORIES[kind]), isolation="shared"))
    assert calls() != calls()


@pytest.mark.parametrize("kind", DROPPED)
def test_a_dropped_segment_is_there_again(kind: str, fast_call: bool) -> None:
    """A call that drops a segment does not take it from the next one."""
    calls = Calls(maker(remembering(*DROPPED[kind]), fast_call))
    assert [calls() for _ in range(3)] == [(7).to_bytes(8, "little")] * 3
    assert calls.made == 3


@pytest.mark.parametrize("kind", MEMORIES)
def test_an_instance_is_made_anew_only_where_it_must_be(kind: str) -> None:
    """What can be put back is put back: five calls need one instance."""
    calls = Calls(maker(remembering(*MEMORIES[kind])))
    for _ in range(5):
        calls()
    assert calls.made == (5 if kind in ANEW or "grown" in kind else 1)


def test_hooks_do_not_see_each_other() -> None:
    """Two hooks of one plugin share nothing either."""
    find = "(i64.load (i32.const 9000))"
    text = module(
        {
            HOOK: f"(i64.store (i32.const 9000) (i64.const {packed(1024, 1)})) {NOTHING}",
            "other": find,
        }
    )
    calls = Calls(maker(text))
    assert [calls(), calls(hook="other"), calls(), calls(hook="other")] == [None] * 4


def test_what_init_made_is_there_for_every_call() -> None:
    """An instance goes back to how ph_init left it, not to how the module begins."""
    text = module(
        {HOOK: f"(i32.store8 (i32.const 1024) (global.get $g)) (i64.const {packed(1024, 8)})"},
        extra="""(global $g (mut i32) (i32.const 0))
          (func (export "ph_init") (param i32) (result i64)
            (global.set $g (i32.const 65)) (i64.store (i32.const 1024) (i64.const 0x4242424242))
            (i64.const 0))""",
    )
    calls = Calls(maker(text))
    assert [calls() for _ in range(3)] == [b"ABBBB\0\0\0"] * 3


@pytest.mark.skipif(not pages.is_known(), reason="no mappings are made here")
def test_scattered_pages_do_not_use_up_the_process_s_mappings() -> None:
    """A guest that begins by writing every other page is put back, from a few mappings."""
    find = "(i64.add (i64.load (i32.const 139264)) (i64.load (i32.const 143360)))"
    change = "".join(f"(i64.store (i32.const {at}) (i64.const 7))" for at in (139264, 143360))
    init = """(func (export "ph_init") (param $at i32) (result i64)
      (local.set $at (i32.const 131072))
      (loop (i32.store (local.get $at) (i32.const 1))
        (local.set $at (i32.add (local.get $at) (i32.const 8192)))
        (br_if 0 (i32.lt_u (local.get $at) (i32.const 1048576))))
      (i64.const 0))"""
    text = remembering(init, f"{find} {change}").replace('"memory") 4', '"memory") 16')
    make, maps = maker(text), Path("/proc/self/maps")
    before = len(maps.read_text().splitlines())
    guests = [make(monotonic(), 10.0) for _ in range(4)]
    more = len(maps.read_text().splitlines()) - before
    assert more < 4 * 3 * pages.MAX_RUNS
    for guest in guests * 3:
        assert guest.call(HOOK, b"", monotonic(), 10.0) == (1).to_bytes(8, "little")


def test_a_payload_leaves_nothing_behind(fast_call: bool) -> None:
    """A short payload is not followed by the rest of a longer one, and a long one still fits."""
    whole = f"(i64.const {packed(HEAP, 9000)})"
    calls = Calls(maker(module({HOOK: whole}), fast_call))
    assert calls(b"x" * 9000) == b"x" * 9000
    assert calls(b"yy") == b"yy" + bytes(8998)
    assert calls(b"z" * 9000) == b"z" * 9000


def test_an_error_leaves_nothing_behind() -> None:
    """A guest that declares an error is put back like any other, or not used again."""
    for definitions, change in (
        ("", "(i32.store8 (i32.const 1024) (i32.const 88))"),
        ("(table $t 1 funcref)", "(i32.store8 (i32.const 1024) (i32.const 88)) "
         "(table.set $t (i32.const 0) (ref.null func))"),
    ):  # fmt: skip
        text = module(
            {
                HOOK: f"{change} (i64.const {packed(1024, 1, error=True)})",
                "other": f"(i64.const {packed(1024, 1)})",
            },
            extra=definitions,
        )
        calls = Calls(maker(text))
        with pytest.raises(GuestError, match="X"):
            calls()
        assert calls(hook="other") == b"\0"


def test_threads_that_take_turns_leave_nothing_behind() -> None:
    """An instance that goes from thread to thread is put back after each call."""
    calls, found = Calls(maker(remembering(*MEMORIES["memory"]))), []
    for _ in range(5):
        thread = threading.Thread(target=lambda: found.extend(calls() for _ in range(2)))
        thread.start()
        thread.join(30)
    assert (found, calls.made) == ([bytes(8)] * 10, 1)


@pytest.mark.usefixtures("tracking")
def test_what_another_thread_writes_is_put_back() -> None:
    """Also a page that a host function wrote from another thread, in which faults count."""
    calls = Calls(maker(module({HOOK: f"(i64.const {packed(HEAP, 8)})"})))
    calls()
    guest = calls.guest
    assert guest is not None
    thread = threading.Thread(target=guest.instance.write, args=(250_000, b"left"))
    thread.start()
    thread.join(30)
    calls()
    assert guest.instance.read(250_000, 4) == bytes(4)


@pytest.mark.skipif(not pages.is_known(), reason="there is only copying here")
@pytest.mark.parametrize("before", [0, 1, 2])
def test_a_process_that_may_not_look_any_more_copies(
    monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    """When a server has become another user, memory is put back all the same."""

    def refuse(address: int, size: int) -> bytes:
        raise PermissionError(13, "Permission denied", "/proc/self/pagemap")

    calls = Calls(maker(remembering(*MEMORIES["memory"])))
    found = [calls() for _ in range(before)]
    monkeypatch.setattr(snapshot.pages, "own", refuse)
    for _ in range(4):
        pages.seen.faults = None  # as after a fault
        found.append(calls())
    assert (found, calls.made) == ([bytes(8)] * (before + 4), 1)


@pytest.mark.skipif(not pages.is_known(), reason="there is only copying here")
def test_calls_within_calls_are_put_back_each() -> None:
    """Looking after an inner call takes nothing from looking after the outer one."""
    outer, inner = (maker(remembering(*MEMORIES["memory"]))(monotonic(), 10.0) for _ in range(2))
    real, found = Guest.call, []

    def nested(*arguments: Any) -> bytes | None:
        result = real(*arguments)
        if arguments[0] is outer:
            found.append(inner.call(HOOK, b"", monotonic(), 10.0))
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Guest, "call", nested)
        found += [outer.call(HOOK, b"", monotonic(), 10.0) for _ in range(3)]
    assert found == [bytes(8)] * 6


@pytest.mark.skipif(not pages.is_known(), reason="there is only copying here")
def test_only_written_pages_are_put_back() -> None:
    """What ph_init wrote and calls do not is not copied again and again."""
    text = module(
        {HOOK: f"(i32.store8 (i32.const 140000) (i32.const 1)) {NOTHING}"},
        extra="""(func (export "ph_init") (param i32) (result i64)
          (memory.fill (i32.const 65536) (i32.const 7) (i32.const 131072)) (i64.const 0))""",
    )
    made = maker(text)(monotonic(), 10.0)
    assert isinstance(made, RestoredGuest)
    kept = made._restore.__self__  # type: ignore[attr-defined]
    for _ in range(3):
        made.call(HOOK, b"", monotonic(), 10.0)
    page = 140_000 // pages.PAGE * pages.PAGE
    assert [(start, end) for start, end, _ in kept._written] == [(page, page + pages.PAGE)]
    assert made.instance.read(140_000, 1) == b"\7"


_OFFSETS = st.integers(0, 262_143)


@settings(max_examples=40)
@given(st.lists(st.lists(st.tuples(_OFFSETS, st.binary(min_size=1, max_size=9)), max_size=6)))
def test_memory_is_as_it_was_whatever_is_written(calls: list[list[tuple[int, bytes]]]) -> None:
    """After any writes of any calls, every byte of memory is what it was."""
    text = module({HOOK: NOTHING}, data=[(70_000, b"data"), (131_070, b"over an edge")])
    guest = maker(text)(monotonic(), 10.0)
    before = guest.instance.read(0, 262_144)
    for writes in calls:
        for offset, data in writes:
            guest.instance.write(min(offset, 262_144 - len(data)), data)
        guest.call(HOOK, b"payload", monotonic(), 10.0)
        assert guest.instance.read(0, 262_144) == before


@pytest.mark.parametrize(
    "code",
    [
        "call 4",  # the function that keeps the globals
        "i32.const 1 global.set 1",  # a twin
    ],
)
def test_a_guest_cannot_reach_what_is_added(code: str) -> None:
    """A module whose code names what only its rewritten form has does not load."""
    text = module({HOOK: "global.get 0 drop (i64.const 0)"}, extra="(global (mut i32) i32.const 5)")
    wasm = wat_to_wasm(text.encode(), PATH)
    target = {"call 4": b"\x10\x04\x01", "i32.const 1 global.set 1": b"\x24\x01\x01"}[code]
    tampered = wasm.replace(b"\x23\x00\x1a", target)  # global.get 0, drop
    assert tampered != wasm
    make = maker(text)
    with pytest.raises(ModuleError, match="not a valid WebAssembly module"):
        Maker(
            PATH, tampered, read_module(tampered), (HOOK,), Manifest(name="guest"),
            Limits(timeout=1.0, memory=1 << 20, isolation="request"), (),
            Settings.from_mapping({}, "/"), None, False,
        )  # fmt: skip
    assert make(monotonic(), 10.0).call(HOOK, b"", monotonic(), 10.0) is None


def test_a_rewritten_module_is_the_same_but_for_its_additions() -> None:
    """Imports, types of exports, memory and custom sections stay; one export is new."""
    text = remembering(*MEMORIES["many globals"])
    wasm = wat_to_wasm(text.encode(), PATH) + b"\0\x06\x04abcdX"
    info = read_module(wasm)
    rewritten = restorable(wasm, info, [HOOK])
    assert rewritten is not None
    after = read_module(rewritten)
    shown = {item.name: (item.kind, item.type) for item in info.exports}
    assert {item.name: (item.kind, item.type) for item in after.exports} == {
        **shown,
        KEEP: ("func", ((), ())),
    }
    assert (after.imports, after.memories) == (info.imports, info.memories)
    assert rewritten.endswith(b"\0\x06\x04abcdX")


def test_a_rewritten_module_is_not_much_larger() -> None:
    """A module may have thousands of hooks, and of globals: their numbers do not multiply."""
    globals_ = "(global (mut i32) (i32.const 0))" * 1000
    hooks = {f"hook{i}": NOTHING for i in range(1000)}
    wasm = wat_to_wasm(module(hooks, extra=globals_).encode(), PATH)
    rewritten = restorable(wasm, read_module(wasm), list(hooks))
    assert rewritten is not None
    assert len(rewritten) < 3 * len(wasm)


def test_what_is_slow_to_validate_is_not_rewritten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Validating has no budget: a megabyte of labels that take 1 000 values along took 8 s."""
    wide = f"(type (func (result {'i32 ' * 1000})))"
    code = "(drop (v128.const i64x2 0 0))" * 20_000
    text = module({HOOK: NOTHING}, extra=f"{wide} (func {code})")
    wasm = wat_to_wasm(text.encode(), PATH)
    assert read_module(wasm).widest == 1000
    monkeypatch.setattr(Engine, "validate", lambda *_: pytest.fail("it was validated"))
    calls = Calls(maker(text))
    assert [calls(), calls(), calls.made] == [None, None, 2]


def test_an_export_of_the_reserved_name_is_left_alone() -> None:
    """A module that has an export of that name itself gets a new instance for each call."""
    text = module({HOOK: NOTHING}, extra=f'(func (export "{KEEP}"))')
    wasm = wat_to_wasm(text.encode(), PATH)
    assert restorable(wasm, read_module(wasm), [HOOK]) is None
    calls = Calls(maker(text))
    assert [calls(), calls(), calls.made] == [None, None, 2]


@pytest.mark.parametrize(
    ("value", "isolated"),
    [
        ("shared", {"a": False, "b": False}),
        ("request", {"a": True, "b": True}),
        ({"a*": "request"}, {"a": True, "b": False}),
        ({"*": "shared", "B": "request"}, {"a": False, "b": True}),
    ],
)
def test_the_operator_can_isolate_by_name(value: object, isolated: dict[str, bool]) -> None:
    """PLUGIN_HOST_ISOLATION raises a plugin to request, and never lowers one."""
    read = Settings.from_mapping({"PLUGIN_HOST_ISOLATION": value}, "/")
    for name, expected in isolated.items():
        limits = effective_limits(Manifest(name=name), read)
        assert limits.isolation == ("request" if expected else "shared")
        own = effective_limits(Manifest(name=name, isolation="request"), read)
        assert own.isolation == "request"


@pytest.mark.parametrize("value", ["requests", 1, {"": "request"}, {"a": "reqest"}, {1: "shared"}])
def test_a_wrong_mode_is_refused(value: object) -> None:
    """A mode or pattern that there is not is a ConfigError that says what is allowed."""
    with pytest.raises(ConfigError, match="allowed: 'shared' or 'request', or a mapping"):
        Settings.from_mapping({"PLUGIN_HOST_ISOLATION": value}, "/")


def counting(hook: str) -> str:
    """A guest that answers how often it has been called, as a digit."""
    count = "(i32.store8 (i32.const 1024) (i32.add (i32.load8_u (i32.const 1024)) (i32.const 1)))"
    return module({hook: f"{count} (i64.const {packed(1024, 1)})"}, data=[(1024, b"0")])


def test_the_manifest_isolates(make_app: MakeApp, folder: Path) -> None:
    """In a whole app, the key of the manifest decides whether calls see each other."""
    for name, mode in (("kept", "shared"), ("fresh", "request")):
        (folder / f"{name}.wat").write_text(counting(name))
        (folder / f"{name}.toml").write_text(f'isolation = "{mode}"')
    app, plugins = make_app()
    plugins.hookspec("kept")
    plugins.hookspec("fresh")
    with app.app_context():
        kept = [plugins.call("kept", 0) for _ in range(3)]
        fresh = [plugins.call("fresh", 0) for _ in range(3)]
    assert (kept, fresh) == ([1, 2, 3], [1, 1, 1])


@pytest.mark.clang
@pytest.mark.skipif(shutil.which("clang") is None, reason="clang is not installed")
def test_a_guest_of_c_forgets(tmp_path: Path, fast_call: bool) -> None:
    """Static variables, a grown stack and a bump allocator of C are as they were."""
    source = tmp_path / "guest.c"
    source.write_text(
        """
        #define EXPORT(n) __attribute__((export_name(n)))
        typedef unsigned u32; typedef unsigned long long u64; typedef unsigned char u8;
        extern u8 __heap_base;
        static u32 calls, words[5000]; static u8 *top = &__heap_base; static double mean = 1.5;
        static u8 buffer[8192] __attribute__((aligned(8)));
        EXPORT("ph_abi_version") u32 version(void) { return 1; }
        EXPORT("ph_alloc") u8 *alloc(u32 n) { return buffer; }
        static u32 deep(u32 n) {
          volatile u32 a[64]; a[n % 64] = n;
          return n ? deep(n - 1) + a[n % 64] : 0;
        }
        EXPORT("ask") u64 ask(u32 len) {
          u32 *out = (u32 *)buffer;
          u32 seen = 0;
          for (u32 i = 0; i < 5000; i++) { seen += words[i]; words[i] = i + 1; }
          *top = (u8)calls; top += 100; mean *= 2;
          out[0] = ++calls; out[1] = seen; out[2] = (u32)(top - &__heap_base); out[3] = (u32)mean;
          deep(50);
          return (u64)(u32)out << 32 | 16;
        }"""
    )
    target = tmp_path / "guest.wasm"
    flags = ["--target=wasm32-unknown-unknown", "-O1", "-nostdlib", "-Wl,--no-entry"]
    subprocess.run(["clang", *flags, "-o", str(target), str(source)], check=True, timeout=60)
    wasm = target.read_bytes()
    settled = Settings.from_mapping({"PLUGIN_HOST_FAST_CALL": fast_call}, "/")
    limits = Limits(timeout=1.0, memory=1 << 24, isolation="request")
    manifest = Manifest(name="guest")
    info = read_module(wasm)
    calls = Calls(Maker(PATH, wasm, info, (HOOK,), manifest, limits, (), settled, None, False))
    expected = b"".join(n.to_bytes(4, "little") for n in (1, 0, 100, 3))
    assert [calls() for _ in range(4)] == [expected] * 4
    assert calls.made == 1


SHOP = Path(__file__).resolve().parents[2] / "plugins"


@pytest.mark.parametrize("name", ["bulk_discount", "flash_sale", "guard"])
def test_guests_of_assemblyscript_can_be_put_back(name: str) -> None:
    """The shop's plugins, with their runtime's 20 globals, are rewritten into valid modules."""
    wasm = (SHOP / f"{name}.wasm").read_bytes()
    info = read_module(wasm)
    hooks = [item.name for item in info.exports if item.type == (("i32",), ("i64",))]
    hooks = [hook for hook in hooks if not hook.startswith(("ph_", "_"))]
    rewritten = restorable(wasm, info, hooks)
    assert rewritten is not None
    assert read_module(rewritten).export(KEEP) is not None
    engine(False).validate(rewritten, PATH)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_forgets_too() -> None:
    """An instance that was used before a fork is put back in the child, and in the parent."""
    calls = Calls(maker(remembering(*MEMORIES["memory"])))
    expected = [calls() for _ in range(3)]
    child = os.fork()
    if not child:
        try:
            os._exit(0 if [calls() for _ in range(3)] == expected else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert ([calls() for _ in range(3)], calls.made) == (expected, 1)


def test_recorded_calls_find_what_calls_in_service_would(make_app: MakeApp, folder: Path) -> None:
    """A plugin's own tests meet the isolation that it has, also where instances are made anew."""
    anew = counting("ask").replace("(module", "(module (table $t 1 funcref)", 1)
    anew = anew.replace("(i32.store8", "(table.set $t (i32.const 0) (ref.null func)) (i32.store8")
    recorded = '[[selftest]]\nhook = "ask"\npayload = 0\nexpect.answer = 1\n' * 2
    for name, text in (("kept", counting("ask")), ("anew", anew)):
        (folder / f"{name}.wat").write_text(text)
        (folder / f"{name}.toml").write_text(f'isolation = "request"\n{recorded}')
    app, plugins = make_app()
    plugins.hookspec("ask", combine="collect")
    with app.app_context():
        assert [plugins.call("ask", 0) for _ in range(2)] == [[1, 1], [1, 1]]
