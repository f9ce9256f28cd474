"""Guests for the reload benchmarks: generated, the same in every run, without a toolchain.

A version is eight digits, said by `on_request` on ``g`` and by `on_response` in a header. One
stands in the first function, the other in the data section at the file's end: a module of which
half is old and half is new gives a response that does not agree with itself.
"""

from __future__ import annotations

import functools
import random
import struct

import wasmtime

HEADER = "x-version"
G = "version"

_PLACEHOLDER = "77777777"
_REQUEST_AT, _RESPONSE_AT, _HEAP = 1024, 2048, 4096
_SET_HEADER, _SET_G = 1, 8

CORRUPT = ("truncated", "garbage", "no exports", "empty")


def version(number: int) -> str:
    """The version of that number, as guests and responses say it."""
    return f"{number:08}"


def module(size: int, number: int, *, init_traps: bool = False) -> bytes:
    """A version of the guest, as a binary of about `size` bytes (0: as small as it gets)."""
    text, digits = _module(size, init_traps), version(number)
    for old, new in (
        (_PLACEHOLDER.encode(), digits.encode()),
        (_constant(_PLACEHOLDER), _constant(digits)),
    ):
        if text.count(old) != 1:
            raise ValueError(f"the placeholder stands {text.count(old)} times in the module")
        text = text.replace(old, new)
    return text


def corrupt(kind: str, size: int, number: int) -> bytes:
    """What must never serve: one of `CORRUPT`."""
    good = module(size, number)
    if kind == "truncated":
        return good[: len(good) * 2 // 3]
    if kind == "garbage":
        return random.Random(number).randbytes(len(good))
    if kind == "no exports":
        return bytes(wasmtime.wat2wasm(f'(module (memory 1) (data "{version(number)}"))'))
    return b""


@functools.cache
def _module(size: int, init_traps: bool) -> bytes:
    """The guest with the placeholder as its version."""
    if not size:
        return _assemble(0, init_traps)
    # Functions are of one size on average, and there are many: two trials are close enough.
    probe = 40
    each = (len(_assemble(probe, init_traps)) - len(_assemble(0, init_traps))) / probe
    return _assemble(max(1, round(size / each)), init_traps)


def _assemble(functions: int, init_traps: bool) -> bytes:
    request = _edit(_SET_G, G, _PLACEHOLDER)
    response = _edit(_SET_HEADER, HEADER, "")[: -len(HEADER)]  # its name and value come later
    response = response[:-4] + struct.pack("<I", len(_PLACEHOLDER)) + HEADER.encode()
    store = int.from_bytes(_PLACEHOLDER.encode(), "little")
    length = len(response) + len(_PLACEHOLDER)
    init = "unreachable" if init_traps else "(i64.const 0)"
    filler = "\n".join(_function(number) for number in range(functions))
    return bytes(
        wasmtime.wat2wasm(f"""(module (memory (export "memory") 4)
      (func (export "on_response") (param $len i32) (result i64)
        (i64.store (i32.const {_RESPONSE_AT + len(response)}) (i64.const {store}))
        (i64.const {_RESPONSE_AT << 32 | length}))
      (func (export "on_request") (param $len i32) (result i64)
        (i64.const {_REQUEST_AT << 32 | len(request)}))
      (func (export "ph_init") (param $len i32) (result i64) {init})
      (func (export "ph_abi_version") (result i32) (i32.const 1))
      (func (export "ph_alloc") (param $size i32) (result i32) (i32.const {_HEAP}))
      {filler}
      (data (i32.const {_RESPONSE_AT}) "{_escaped(response)}")
      (data (i32.const {_REQUEST_AT}) "{_escaped(request)}"))""")
    )


def _edit(op: int, name: str, value: str) -> bytes:
    """An edit list of one edit."""
    head = struct.pack("<BBHI", op, 0, len(name), len(value))
    return b"\x01\x03\x00\x00" + head + name.encode() + value.encode()


def _constant(digits: str) -> bytes:
    """`i64.const` of eight digits as they lie in memory: as long for all of them."""
    value, out = int.from_bytes(digits.encode(), "little"), bytearray(b"\x42")
    while value > 0x3F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def _escaped(data: bytes) -> str:
    return "".join(f"\\{byte:02x}" for byte in data)


def _function(number: int) -> str:
    """A function of some 400 bytes: arithmetic, loads, stores, branches, a loop, a call."""
    chosen = random.Random(number)
    names = ("$a", "$b", "$c", "$d")

    def value(depth: int) -> str:
        if depth == 0:
            return f"(local.get {chosen.choice(names)})"
        kind = chosen.randrange(4)
        if kind == 0:
            inner = f"(i32.and {value(depth - 1)} (i32.const 65532))"
            return f"(i32.load offset={chosen.randrange(0, 65536, 4)} {inner})"
        if kind == 1:
            return f"(i32.const {chosen.randrange(1 << 20)})"
        op = chosen.choice(("add", "mul", "xor", "sub", "rotl", "and", "or", "lt_u"))
        return f"(i32.{op} {value(depth - 1)} {value(depth - 1)})"

    def statement() -> str:
        kind, name = chosen.randrange(6), chosen.choice(names)
        if kind == 0:
            body = f"(then (local.set {name} {value(2)})) (else (local.set {name} {value(1)}))"
            return f"(if {value(1)} {body})"
        if kind == 1:
            return f"(i32.store (i32.and {value(1)} (i32.const 65532)) {value(2)})"
        return f"(local.set {name} {value(3)})"

    call = f"(local.set $c (call $f{number - 1} {value(1)} {value(1)}))" if number else ""
    body = "\n".join(statement() for _ in range(12))
    return f"""(func $f{number} (param $a i32) (param $b i32) (result i32) (local $c i32)
      (local $d i32)
      (loop $again {body} {call}
        (local.set $d (i32.add (local.get $d) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $d) (i32.and (local.get $a) (i32.const 7)))))
      (i32.add {value(2)} {value(2)}))"""
