"""Guests for tests, as WebAssembly text: no toolchain, assembled by the host itself."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable

from flask import Flask

from plugin_host import PluginHost

#: The fixture ``make_app``: makes an app with a plugin host; keywords are ``PLUGIN_HOST_`` keys.
MakeApp = Callable[..., tuple[Flask, PluginHost]]

HEAP = 4096
RESULT = 1024

SET_HEADER, ADD_HEADER, REMOVE_HEADER, SET_PATH, SET_QUERY, SET_METHOD = 1, 2, 3, 4, 5, 6
SET_BODY, SET_G, SET_CONTEXT, ANSWER, SET_STATUS = 7, 8, 9, 10, 11


def edit(op: int, name: bytes = b"", value: bytes | int = b"") -> bytes:
    """One edit; an integer value is a status."""
    data = struct.pack("<H", value) if isinstance(value, int) else value
    return struct.pack("<BBHI", op, 0, len(name), len(data)) + name + data


def edits(*items: bytes) -> bytes:
    """A whole edit list."""
    return b"\x01\x03\x00\x00" + b"".join(items)


def escaped(data: bytes) -> str:
    """Bytes as a string of the text format."""
    return "".join(f"\\{byte:02x}" for byte in data)


def packed(pointer: int, length: int, error: bool = False) -> int:
    """What a hook returns, as a signed i64."""
    value = pointer << 32 | length | (0x8000_0000 if error else 0)
    return value - (1 << 64) if value >> 63 else value


def module(
    hooks: dict[str, str],
    *,
    data: Iterable[tuple[int, bytes]] = (),
    version: int = 1,
    alloc: str = f"(i32.const {HEAP})",
    memory: str = '(memory (export "memory") 4)',
    extra: str = "",
    imports: str = "",
) -> str:
    """A guest of the native ABI.

    :param hooks: by name, the body of ``(func (param $len i32) (result i64) …)``.
    :param data: pieces of initial memory.
    :param alloc: the body of ``ph_alloc``; the buffer has some 250 KiB.
    :param extra: further definitions.
    """
    functions = "\n".join(
        f'(func ${name} (export "{name}") (param $len i32) (result i64) {body})'
        for name, body in hooks.items()
    )
    pieces = "\n".join(f'(data (i32.const {at}) "{escaped(piece)}")' for at, piece in data)
    return f"""(module {imports} {memory}
      (func (export "ph_abi_version") (result i32) (i32.const {version}))
      (func (export "ph_alloc") (param $size i32) (result i32) {alloc})
      {functions} {extra} {pieces})"""


def returning(hook: str, result: bytes, **more: object) -> str:
    """A guest whose hook always returns the same bytes."""
    body = f"(i64.const {packed(RESULT, len(result))})"
    return module({hook: body}, data=[(RESULT, result)], **more)  # type: ignore[arg-type]


#: Returns its payload as it is.
ECHO = f"""(i64.or (i64.const {packed(HEAP, 0)}) (i64.extend_i32_u (local.get $len)))"""
#: Runs for ever.
SPIN = "(loop (br 0)) (i64.const 0)"
TRAP = "unreachable"
UNCHANGED = "(i64.const 0)"


def answering_config(hook: str) -> str:
    """A guest whose hook answers the configuration that it was given at its start."""
    start = f"""(global.set $n (local.get $len))
      (memory.copy (i32.const 131072) (i32.const {HEAP}) (local.get $len)) (i64.const 0)"""
    answer = f"(i64.or (i64.const {packed(131072, 0)}) (i64.extend_i32_u (global.get $n)))"
    more = "(global $n (mut i32) (i32.const 0))"
    return module({"ph_init": start, hook: answer}, extra=more)


def adding(name: str, value: str, hook: str = "on_response") -> str:
    """A guest that adds one header."""
    return returning(hook, edits(edit(ADD_HEADER, name.encode(), value.encode())))


def error(message: bytes) -> str:
    """A guest whose business hook ``ask`` declares an error."""
    body = f"(i64.const {packed(RESULT, len(message), error=True)})"
    return module({"ask": body}, data=[(RESULT, message)])
