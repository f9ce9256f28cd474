"""What the log says of where a guest was when its call ended."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import guests
import pytest
from guests import MakeApp
from hypothesis import given
from hypothesis import strategies as st

from plugin_host.modules import rewriting
from plugin_host.modules.binary import custom_sections
from plugin_host.modules.debuginfo import harmless_debuginfo
from plugin_host.modules.sourcelines import (
    MAX_ROWS,
    MAX_TABLES,
    Row,
    Sequence,
    read_lines,
    write_lines,
)
from plugin_host.wasm.engine import wat_to_wasm

SOURCE = """#include <stdint.h>
#define EXPORT(name) __attribute__((export_name(name)))
static _Alignas(8) uint8_t buffer[1 << 16];
EXPORT("ph_abi_version") int32_t abi_version(void) { return 1; }
EXPORT("ph_alloc") void *alloc(uint32_t size) { return size > sizeof buffer ? 0 : buffer; }
__attribute__((always_inline)) static inline uint32_t peek(uint32_t at) {
  return *(volatile uint32_t *)at;
}
__attribute__((noinline)) static uint32_t guess(uint32_t n) {
  n += 5;
  return peek(n - 10);
}
EXPORT("ask") uint64_t ask(uint32_t length) {
  return guess(length) + 1;
}
"""
Compile = Callable[..., bytes]


@pytest.fixture
def compile_c(tmp_path: Path) -> Compile:
    """Compile the plugin with more options."""

    def compiled(*options: str) -> bytes:
        (tmp_path / "price.c").write_text(SOURCE)
        clang = shutil.which("clang")
        assert clang is not None
        command = [clang, "--target=wasm32-unknown-unknown", "-O1", "-nostdlib", *options]
        subprocess.run(
            [*command, "-Wl,--no-entry", "-o", "c.wasm", "price.c"], cwd=tmp_path, check=True
        )
        return (tmp_path / "c.wasm").read_bytes()

    return compiled


def failure(
    make_app: MakeApp, folder: Path, caplog: pytest.LogCaptureFixture, **config: object
) -> str:
    """The line about a plugin's failing hook ``ask``."""
    app, plugins = make_app(**config)
    plugins.hookspec("ask")
    with app.app_context():
        plugins.call("ask")
    return next(line for line in caplog.messages if "hook ask" in line)


@pytest.mark.clang
def test_a_trap_names_functions_and_source_lines(
    make_app: MakeApp,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    compile_c: Compile,
    fast_call: bool,
) -> None:
    """With debugging information, each function has its file and line."""
    (folder / "price.wasm").write_bytes(compile_c("-g"))
    assert failure(make_app, folder, caplog, FAST_CALL=fast_call) == (
        "plugin price 0, hook ask: memory out of bounds (in guess at price.c:7"
        " < ask at price.c:14); policy skip"
    )


@pytest.mark.clang
@pytest.mark.parametrize("version", [2, 3, 4, 5])
def test_every_version_of_dwarf_is_read(compile_c: Compile, version: int) -> None:
    """What compilers have written since 1993 gives the same lines."""
    wasm = compile_c(f"-gdwarf-{version}")
    lines = {(row.file, row.line) for each in lines_of(wasm) for row in each.rows}
    assert {("price.c", line) for line in (4, 5, 7, 14)} <= lines
    written = harmless_debuginfo(wasm)
    assert lines_of(written) == lines_of(wasm)
    assert harmless_debuginfo(written) == written


@pytest.mark.clang
def test_a_mapped_module_still_names_source_lines(
    make_app: MakeApp, folder: Path, caplog: pytest.LogCaptureFixture, compile_c: Compile
) -> None:
    """Compiled code that comes from the cache has its debugging information with it."""
    (folder / "price.wasm").write_bytes(compile_c("-g"))
    make_app()
    assert "guess at price.c:7" in failure(make_app, folder, caplog)


@pytest.mark.clang
def test_without_debugging_information_there_are_names(
    make_app: MakeApp, folder: Path, caplog: pytest.LogCaptureFixture, compile_c: Compile
) -> None:
    """Functions' names need no -g."""
    (folder / "price.wasm").write_bytes(compile_c())
    assert "memory out of bounds (in guess < ask); policy" in failure(make_app, folder, caplog)


def test_names_are_as_in_the_module(
    make_app: MakeApp, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A function is called what its module calls it, or by its number; nothing breaks the line."""
    text = guests.module(
        {"ask": "(call $f) (i64.const 0)"},
        extra="""(func $f (call 4)) (func (call $"bad\\0aname"))
          (func $"bad\\0aname" unreachable)""",
    )
    (folder / "a.wat").write_text(text)
    line = failure(make_app, folder, caplog)
    assert " < <wasm function 4> < f < ask); policy skip" in line
    assert "\n" not in line


def test_a_missed_deadline_says_where(
    make_app: MakeApp, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A loop without an end is found by its function."""
    text = guests.module(
        {"ask": "(call $search) (i64.const 0)"}, extra=f"(func $search {guests.SPIN} drop)"
    )
    (folder / "a.wat").write_text(text)
    assert "missed its deadline of 50 ms (in search < ask)" in failure(make_app, folder, caplog)


def lines_of(wasm: bytes) -> list[Sequence]:
    """The source lines of a module."""
    names = (".debug_line", ".debug_str", ".debug_line_str")
    return read_lines({name: b"".join(custom_sections(wasm, name)) for name in names})


def test_of_debugging_information_the_engine_gets_lines_only() -> None:
    """All of it goes but what is written anew, and nothing else."""
    module = b"\0asm\1\0\0\0" + written(b"plugin_host.manifest", bytes(300))
    lines = write_lines([Sequence([Row(4, "a.c", 7), Row(9, "b.c", 1)], 20)])
    wasm = module + written(b".debug_info", bytes(99)) + written(b".debug_ranges", bytes(99))
    slim = harmless_debuginfo(wasm + written(b".debug_line", lines[".debug_line"]))
    assert slim == module + b"".join(written(k.encode(), lines[k]) for k in lines)
    assert harmless_debuginfo(wasm) == module
    assert harmless_debuginfo(module) is module


def written(name: bytes, data: bytes) -> bytes:
    """A custom section, as short as it can be written."""
    content = bytes([len(name)]) + name + data
    return b"\0" + rewriting.leb128(len(content)) + content


def test_names_are_cut() -> None:
    """A backtrace has twenty of them, and the engine copies each."""
    wasm = wat_to_wasm(f'(module (func $"{"ü" * 150}") (func $short))'.encode(), Path("a.wat"))
    (names,) = custom_sections(harmless_debuginfo(wasm), "name")
    assert ("ü" * 100).encode() in names
    assert ("ü" * 101).encode() not in names
    assert b"\x01\x05short" in names


ROWS = st.lists(
    st.tuples(
        st.integers(0, 1 << 20), st.sampled_from(["a.c", "b.rs", "?"]), st.integers(1, 1 << 30)
    ),
    min_size=1,
)


@given(ROWS, st.integers(1, 1 << 20))
def test_lines_that_are_written_are_read(rows: list[tuple[int, str, int]], more: int) -> None:
    """Whatever they are, in the order of their addresses."""
    made = [Row(address + 1, name, line) for address, name, line in sorted(rows)]
    made = [
        row
        for last, row in zip([None, *made], made, strict=False)
        if not last or last[1:] != row[1:]
    ]
    sequence = Sequence(made, made[-1].address + more)
    assert read_lines(write_lines([sequence])) == [sequence]


@given(st.binary(max_size=300), st.integers(0, 300))
def test_lines_are_hostile_bytes(data: bytes, at: int) -> None:
    """Whatever they say, they are read or left out; what comes of them can be read again."""
    good = write_lines([Sequence([Row(4, "a.c", 7), Row(9, "b.c", 1)], 20)])[".debug_line"]
    for table in (data, good[:at] + data, good[:at] + data + good[at + len(data) :]):
        found = read_lines({".debug_line": table})
        assert not found or read_lines(write_lines(found)) == found


@pytest.mark.parametrize(
    "table",
    [
        bytes(MAX_TABLES + 1),
        write_lines([Sequence([Row(n + 1, "a.c", n + 1) for n in range(MAX_ROWS + 1)], 1 << 20)])[
            ".debug_line"
        ],
    ],
    ids=["bytes", "rows"],
)
def test_many_lines_are_left_out(table: bytes) -> None:
    """They would have to be looked through in every trap."""
    assert read_lines({".debug_line": table}) == []


def test_debugging_information_that_is_none_does_not_prevent_loading(
    make_app: MakeApp, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The plugin serves, with names only."""
    import wasmtime

    wasm = bytes(wasmtime.wat2wasm(guests.module({"ask": guests.TRAP})))
    (folder / "a.wasm").write_bytes(wasm + written(b".debug_line", bytes(1 << 19)))
    assert "unreachable (in ask); policy skip" in failure(make_app, folder, caplog)
