"""What the log says of where a guest was when its call ended."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import guests
import pytest
from guests import MakeApp

from plugin_host.modules.binary import custom_sections
from plugin_host.modules.debuginfo import MAX_DEBUG, without_large_debuginfo

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
    """With debugging information, each function has its file and line, inlined ones too."""
    (folder / "price.wasm").write_bytes(compile_c("-g"))
    assert failure(make_app, folder, caplog, FAST_CALL=fast_call) == (
        "plugin price 0, hook ask: memory out of bounds (in peek at price.c:7"
        " < guess at price.c:11 < ask at price.c:14); policy skip"
    )


@pytest.mark.clang
def test_a_mapped_module_still_names_source_lines(
    make_app: MakeApp, folder: Path, caplog: pytest.LogCaptureFixture, compile_c: Compile
) -> None:
    """Compiled code that comes from the cache has its debugging information with it."""
    (folder / "price.wasm").write_bytes(compile_c("-g"))
    make_app()
    assert "guess at price.c:11" in failure(make_app, folder, caplog)


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


def leb128(number: int) -> bytes:
    """An unsigned number of at most 28 bits."""
    return bytes([number >> shift & 0x7F | (0x80 if shift < 21 else 0) for shift in (0, 7, 14, 21)])


def custom(name: bytes, size: int) -> bytes:
    """A custom section with that many bytes, name included."""
    content = bytes([len(name)]) + name
    return b"\0" + leb128(size) + content + bytes(size - len(content))


def test_large_debugging_information_is_dropped() -> None:
    """Beyond the limit all of it goes, and nothing else."""
    module = b"\0asm\1\0\0\0"
    rest = custom(b"name", 50) + custom(b"plugin_host.manifest", 300)
    small = module + custom(b".debug_info", MAX_DEBUG - 50) + rest + custom(b".debug_line", 50)
    assert without_large_debuginfo(small) is small
    large = module + custom(b".debug_info", MAX_DEBUG - 50) + rest + custom(b".debug_line", 51)
    slim = without_large_debuginfo(large)
    assert [len(custom_sections(slim, name)) for name in ("name", "plugin_host.manifest")] == [1, 1]
    assert custom_sections(slim, ".debug_info") == custom_sections(slim, ".debug_line") == []
    assert custom_sections(slim, "name") == custom_sections(large, "name")


def test_large_debugging_information_does_not_prevent_loading(
    make_app: MakeApp, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The plugin serves, with names only."""
    import wasmtime

    wasm = bytes(wasmtime.wat2wasm(guests.module({"ask": guests.TRAP})))
    (folder / "a.wasm").write_bytes(wasm + custom(b".debug_info", MAX_DEBUG + 1))
    assert "unreachable (in ask); policy skip" in failure(make_app, folder, caplog)
