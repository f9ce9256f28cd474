from __future__ import annotations

import functools
import random
from typing import Any

import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st
from wasm_bytes import HEADER, leb, section

from plugin_host.modules.binary import (
    BinaryError,
    Export,
    FuncType,
    Import,
    Memory,
    ModuleInfo,
    Section,
    custom_sections,
    exports,
    imports,
    read_header,
    read_module,
)
from plugin_host.modules.sections import MAX_SECTIONS
from plugin_host.wasm.engine import FEATURES

HOOK = """
(module
  (import "plugin_host" "log" (func $log (param i32 i32 i32)))
  (import "env" "table" (table 1 2 funcref))
  (import "env" "base" (global i32))
  (import "env" "counter" (global (mut i64)))
  (memory (export "memory") 1 16)
  (global (export "version") (mut i32) (i32.const 1))
  (table (export "table") 3 externref)
  (func (export "ph_abi_version") (result i32) (i32.const 1))
  (func $hook (export "on_request") (export "on_response") (param i32) (result i64)
    (i64.const 0))
  (func $init (nop))
  (func (export "pair") (param i32 i64 f32 f64 funcref externref) (result f64 i32)
    (f64.const 0) (i32.const 0))
  (export "log" (func $log))
  (start $init)
  (elem declare func $hook)
  (data (i32.const 0) "data")
)
"""
MODULES = {
    "empty": "(module)",
    "hook": HOOK,
    "imported memory": '(module (import "env" "memory" (memory 2)) (export "m" (memory 0)))',
    "no code": '(module (memory (export "memory") 0))',
    "many": "(module " + "".join(f'(func (export "f{i}"))' for i in range(300)) + ")",
    "unicode": '(module (func (export "größe 🧩")) (func (export "")))',
}


@functools.cache
def engine() -> wasmtime.Engine:
    config = wasmtime.Config()
    config.parallel_compilation = False
    for name, on in FEATURES.items():
        if hasattr(wasmtime.Config, name):
            setattr(config, name, on)
    # wasmtime's own names for types abort the process when they meet a v128.
    config.wasm_simd = False
    return wasmtime.Engine(config)


def wasm(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


def custom(name: bytes, content: bytes) -> bytes:
    return section(0, leb(len(name)) + name + content)


def refusal(data: bytes) -> tuple[int, str]:
    with pytest.raises(BinaryError) as error:
        read_module(data)
    assert str(error.value) == f"at byte {error.value.offset}: {error.value.rule}"
    return error.value.offset, error.value.rule


def function_type(kind: Any) -> FuncType | None:
    if not isinstance(kind, wasmtime.FuncType):
        return None
    return FuncType(tuple(map(value_type, kind.params)), tuple(map(value_type, kind.results)))


def value_type(kind: wasmtime.ValType) -> str:
    name = str(kind)
    return "externref" if name == "anyref" else name


def kind_of(kind: Any) -> str:
    return type(kind).__name__.removesuffix("Type").lower()


@pytest.mark.parametrize("text", MODULES.values(), ids=MODULES)
def test_agrees_with_the_engine(text: str) -> None:
    """Imports and exports are those that the engine sees after compiling, with the same types."""
    data = wasm(text)
    assert listing(data) == engine_listing(wasmtime.Module(engine(), data))


def test_whole_module() -> None:
    """Everything that a module says about itself is read."""
    info = read_module(wasm(HOOK))
    hook = FuncType(("i32",), ("i64",))
    log = FuncType(("i32", "i32", "i32"), ())
    assert info == ModuleInfo(
        imports=(
            Import("plugin_host", "log", "func", log),
            Import("env", "table", "table"),
            Import("env", "base", "global"),
            Import("env", "counter", "global"),
        ),
        exports=(
            Export("memory", "memory", 0),
            Export("version", "global", 2),
            Export("table", "table", 1),
            Export("ph_abi_version", "func", 1, FuncType((), ("i32",))),
            Export("on_request", "func", 2, hook),
            Export("on_response", "func", 2, hook),
            Export(
                "pair",
                "func",
                4,
                FuncType(("i32", "i64", "f32", "f64", "funcref", "externref"), ("f64", "i32")),
            ),
            Export("log", "func", 0, log),
        ),
        memories=(Memory(1, 16),),
        tables=(1, 3),
        start=3,
        sections=info.sections,
        widest=6,
    )
    assert [(item.kind, item.name, item.count) for item in info.sections] == [
        ("type", "", 5),
        ("import", "", 4),
        ("function", "", 4),
        ("table", "", 1),
        ("memory", "", 1),
        ("global", "", 1),
        ("export", "", 8),
        ("start", "", None),
        ("element", "", 1),
        ("code", "", 4),
        ("data", "", 1),
        ("custom", "name", None),
    ]


def test_sections_cover_the_file() -> None:
    """Offsets and sizes of the sections are those of their contents."""
    data = HEADER + custom(b"a", b"xyz") + section(1, b"\0")
    assert read_module(data).sections == (
        Section("custom", "a", 10, 5, None),
        Section("type", "", 17, 1, 0),
    )


def test_function_types_are_plain_tuples() -> None:
    """A function's type can be compared with a plain tuple."""
    export = read_module(wasm(HOOK)).export("on_request")
    assert export is not None
    assert export.type == (("i32",), ("i64",))


def test_vectors() -> None:
    """The type of vectors is known, too."""
    data = wasm('(module (func (export "f") (param v128)))')
    assert read_module(data).exports == (Export("f", "func", 0, FuncType(("v128",), ())),)


def test_export_by_name() -> None:
    """An export is found by its name, and nothing is found by another."""
    info = read_module(wasm(MODULES["imported memory"]))
    assert (info.export("m"), info.export("n")) == (Export("m", "memory", 0), None)


def test_lists() -> None:
    """Imports and exports are also there as plain tuples."""
    data = wasm(MODULES["imported memory"])
    assert imports(data) == [("env", "memory", "memory")]
    assert exports(data) == [("m", "memory", 0)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", Memory(0)),
        ("1 65536", Memory(1, 65536)),
        ("1 2 shared", Memory(1, 2, shared=True)),
        ("i64 1", Memory(1, is64=True)),
        (f"i64 1 {2**48}", Memory(1, 2**48, is64=True)),
    ],
)
def test_memories(text: str, expected: Memory) -> None:
    """A memory's sizes and flags are read, whether the engine allows them or not."""
    assert read_module(wasm(f"(module (memory {text}))")).memories == (expected,)


def test_several_memories() -> None:
    """Imported memories come before a module's own."""
    text = '(module (import "a" "b" (memory 3)) (memory 4 5))'
    assert read_module(wasm(text)).memories == (Memory(3), Memory(4, 5))


def test_tags_and_64_bit_tables() -> None:
    """Imports of kinds that only proposals have are listed, so that they can be refused by name."""
    data = wasm(
        '(module (import "a" "t" (tag (param i32))) (import "a" "u" (table i64 1 2 externref))'
        ' (tag) (export "x" (tag 1)))'
    )
    assert imports(data) == [("a", "t", "tag"), ("a", "u", "table")]
    assert exports(data) == [("x", "tag", 1)]


def test_custom_sections() -> None:
    """All custom sections of a name come in order, wherever they stand."""
    data = HEADER + custom(b"m", b"1") + section(1, b"\0") + custom(b"n", b"2") + custom(b"m", b"")
    found = {name: custom_sections(data, name) for name in ("m", "n", "o", "")}
    assert found == {"m": [b"1", b""], "n": [b"2"], "o": [], "": []}


def test_custom_section_without_name() -> None:
    """A custom section's name may be empty; other sections are not mistaken for it."""
    assert custom_sections(HEADER + section(1, b"\0") + custom(b"", b"x"), "") == [b"x"]


def test_custom_section_of_a_module_with_wrong_contents() -> None:
    """Custom sections are found without reading what other sections hold."""
    data = HEADER + section(1, b"\1\x99") + custom(b"m", b"1")
    assert custom_sections(data, "m") == [b"1"]


HEADERS = [
    (b"", 0, "the file is empty"),
    (b"\0", 1, "the file is truncated in its header"),
    (b"\0asm", 4, "the file is truncated in its header"),
    (b"\0asm\1\0\0", 7, "the file is truncated in its header"),
    (b"\x7fELF\2\1\1\0", 0, "a module starts with the bytes 00 61 73 6d"),
    (b"\0as", 3, "the file is truncated in its header"),
    (b"asm", 0, "a module starts with the bytes 00 61 73 6d"),
    (
        b"\n (module)",
        0,
        "a module starts with the bytes 00 61 73 6d; it looks like text, which belongs in a .wat"
        " file",
    ),
    (
        b";; a comment",
        0,
        "a module starts with the bytes 00 61 73 6d; it looks like text, which belongs in a .wat"
        " file",
    ),
    (b"\0asm\x0d\0\1\0", 4, "this is a component; build a core module instead"),
    (b"\0asm\2\0\0\0", 4, "version 2 of the binary format is unknown; known is 1"),
    (b"\0asm\xff\xff\xff\xff", 4, "version 4294967295 of the binary format is unknown; known is 1"),
]


@pytest.mark.parametrize(("data", "offset", "rule"), HEADERS)
def test_wrong_headers(data: bytes, offset: int, rule: str) -> None:
    """A file that is no core module is refused for what it is instead."""
    with pytest.raises(BinaryError) as error:
        read_header(data)
    assert (error.value.offset, error.value.rule) == (offset, rule)
    assert refusal(data) == (offset, rule)


def test_a_real_component() -> None:
    """A component that a toolchain made is refused as one."""
    assert refusal(wasm("(component)")) == (4, "this is a component; build a core module instead")


def test_header_only() -> None:
    """A header alone is an empty module."""
    assert read_module(HEADER) == ModuleInfo((), (), (), (), None, ())


ONE_TYPE = section(1, b"\1\x60\0\0")
ONE_FUNCTION = ONE_TYPE + section(3, b"\1\0")
BODY = section(10, b"\1\2\0\x0b")
MALFORMED = {
    "unknown section": (section(14, b""), 8, "section id 14 is unknown"),
    "size cut": (b"\1", 9, "a section's size needs 1 bytes, 0 are left"),
    "size too long": (b"\1\x80\x80\x80\x80\x10", 9, "a section's size does not fit into 32 bits"),
    "size endless": (b"\1\x80\x80\x80\x80\x80", 9, "a section's size does not fit into 32 bits"),
    "section cut": (b"\1\5\0", 10, "the type section needs 5 bytes, 1 are left"),
    "twice": (section(1, b"\0") * 2, 11, "the type section comes once, and in its place"),
    "order": (
        section(2, b"\0") + section(1, b"\0"),
        11,
        "the type section comes once, and in its place",
    ),
    "data count late": (
        section(10, b"\0") + section(12, b"\0"),
        11,
        "the datacount section comes once, and in its place",
    ),
    "custom name cut": (
        section(0, b"\2a"),
        11,
        "a custom section's name needs 2 bytes, 1 are left",
    ),
    "custom name text": (section(0, b"\2a\xff"), 12, "a custom section's name is not UTF-8"),
    "custom empty": (
        section(0, b""),
        10,
        "the length of a custom section's name needs 1 bytes, 0 are left",
    ),
    "type count": (section(1, b"\5\x60\0\0"), 10, "5 types cannot fit into 3 bytes"),
    "type form": (
        section(1, b"\1\x5f\0"),
        11,
        "a type is a function's; garbage collection is not supported",
    ),
    "type value": (
        section(1, b"\1\x60\2\x7f\x6e\0"),
        14,
        "value type 0x6e is none that this host knows",
    ),
    "type parts": (section(1, b"\1\x60\3\x7f"), 12, "3 value types cannot fit into 1 bytes"),
    "type rest": (section(1, b"\0\0"), 11, "bytes follow the last element of the type section"),
    "function type": (section(3, b"\1\0") + BODY, 11, "there is no type 0"),
    "no bodies": (
        ONE_FUNCTION,
        18,
        "the code section has another number of bodies than there are functions",
    ),
    "no functions": (
        BODY,
        14,
        "the code section has another number of bodies than there are functions",
    ),
    "import kind": (
        section(2, b"\1\0\0\5"),
        13,
        "kind 5 is none of func, table, memory, global, tag",
    ),
    "import func": (section(2, b"\1\0\0\0\0"), 14, "there is no type 0"),
    "import table": (section(2, b"\1\0\0\1\x7f\0\0"), 14, "a table holds funcref or externref"),
    "import table limits": (section(2, b"\1\0\0\1\x70\x08\0"), 15, "limits of kind 8 are unknown"),
    "import memory": (section(2, b"\1\0\0\2\0"), 15, "the minimum size needs 1 bytes, 0 are left"),
    "import global": (
        section(2, b"\1\0\0\3\0\0"),
        14,
        "a global has a value type, and mutability 0 or 1",
    ),
    "import mutability": (
        section(2, b"\1\0\0\3\x7f\2"),
        14,
        "a global has a value type, and mutability 0 or 1",
    ),
    "import tag": (section(2, b"\1\0\0\4\1\0"), 14, "a tag's attribute is 0"),
    "import tag type": (section(2, b"\1\0\0\4\0\0"), 15, "there is no type 0"),
    "import name": (section(2, b"\1\1\xff\0\0\0"), 12, "an import's module is not UTF-8"),
    "memory 32 bits": (
        section(5, b"\1\0\x80\x80\x80\x80\x10"),
        12,
        "the minimum size does not fit into 32 bits",
    ),
    "memory 64 bits": (
        section(5, b"\1\4" + b"\xff" * 9 + b"\2"),
        12,
        "the minimum size does not fit into 64 bits",
    ),
    "export func": (section(7, b"\1\1a\0\0"), 14, "there is no func 0 to export as 'a'"),
    "export memory": (section(7, b"\1\1a\2\0"), 14, "there is no memory 0 to export as 'a'"),
    "export twice": (
        section(5, b"\1\0\0") + section(7, b"\2\1a\2\0\1a\2\0"),
        24,
        "two exports have the name 'a'",
    ),
    "start": (section(8, b"\0"), 10, "there is no func 0 to start with"),
    "start cut": (section(8, b""), 10, "the start function's index needs 1 bytes, 0 are left"),
    "start rest": (
        ONE_FUNCTION + section(8, b"\0\0") + BODY,
        21,
        "bytes follow the last element of the start section",
    ),
}


@pytest.mark.parametrize(("content", "offset", "rule"), MALFORMED.values(), ids=MALFORMED)
def test_malformed(content: bytes, offset: int, rule: str) -> None:
    """A malformed module is refused with the byte at which a rule is broken, and the rule."""
    assert refusal(HEADER + content) == (offset, rule)


@pytest.mark.parametrize("case", MALFORMED)
def test_the_engine_refuses_the_malformed_too(case: str) -> None:
    """No module is refused here that the engine would take."""
    with pytest.raises(wasmtime.WasmtimeError):
        wasmtime.Module.validate(engine(), HEADER + MALFORMED[case][0])


def test_too_many_sections() -> None:
    """No more sections are walked than this host reads, whatever is looked for."""
    data = HEADER + custom(b"", b"") * MAX_SECTIONS
    assert len(custom_sections(data, "")) == MAX_SECTIONS
    with pytest.raises(BinaryError, match=f"this host reads at most {MAX_SECTIONS} sections"):
        custom_sections(data + custom(b"", b""), "")


def test_a_claimed_size_costs_nothing() -> None:
    """A count of four thousand million is refused by looking at what is left."""
    data = HEADER + section(1, b"\xff\xff\xff\xff\x0f")
    assert refusal(data) == (10, "4294967295 types cannot fit into 0 bytes")


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes(data: bytes, with_header: bool) -> None:
    """Any bytes whatever are read or refused as a BinaryError at a byte of the file."""
    data = HEADER + data if with_header else data
    try:
        read_module(data)
    except BinaryError as error:
        assert 0 <= error.offset <= len(data)  # noqa: PT017 - both outcomes are right


@given(
    st.sampled_from(sorted(MODULES)),
    st.integers(0, 2**32),
    st.integers(1, 4),
    st.sampled_from(["change", "insert", "delete", "cut"]),
)
def test_mutated_modules(name: str, seed: int, times: int, how: str) -> None:
    """A damaged module that the engine still takes is read as the engine reads it."""
    data, dice = bytearray(wasm(MODULES[name])), random.Random(seed)
    for _ in range(times):
        at = dice.randrange(len(data) + 1)
        if how == "cut":
            del data[at:]
        elif how == "insert":
            data.insert(at, dice.choice([0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)]))
        elif how == "delete":
            del data[at : at + 1]
        else:
            data[at : at + 1] = bytes([dice.randrange(256)])
    seen = listing(bytes(data))
    try:
        module = wasmtime.Module(engine(), bytes(data))
    except wasmtime.WasmtimeError:
        return
    assert seen == engine_listing(module)


def listing(data: bytes) -> list[Any]:
    try:
        info = read_module(data)
    except BinaryError as error:
        assert 0 <= error.offset <= len(data)  # noqa: PT017 - the caller checks the other outcome
        return [error]
    return [(item.module, item.name, item.kind, item.type) for item in info.imports] + [
        (item.name, item.kind, item.type) for item in info.exports
    ]


def engine_listing(module: wasmtime.Module) -> list[Any]:
    return [
        (item.module, item.name, kind_of(item.type), function_type(item.type))
        for item in module.imports
    ] + [(item.name, kind_of(item.type), function_type(item.type)) for item in module.exports]
