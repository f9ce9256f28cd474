"""The walk through a module's code: what it lets pass, and what it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from plugin_host.modules.instructions import keeps_tables_and_segments
from plugin_host.modules.sections import walk
from plugin_host.wasm.engine import wat_to_wasm

#: In a module with a memory, a table $t, segments $d and $e, and a function $f.
HARMLESS = {
    "control": """(block $b (result i32) (loop (br_if $b (i32.const 1) (i32.const 0)) (drop))
        (i32.const 2)) (br_table 0 0 0) (if (i32.const 1) (then nop) (else (return)))
        (block (block (br_table 0 1 0 1 0 (i32.const 38))))""",
    "calls": "(call $f) (call_indirect (i32.const 0)) (return_call $f)",
    "tail calls through a table": "(return_call_indirect (i32.const 0))",
    "constants like table.set": """(drop (i32.const 38)) (drop (i64.const 0x2626262626262626))
        (drop (f32.const 0x1.4c4c4cp-12)) (drop (f64.const 0x1.2626262626262p-10))
        (drop (i32.const 1276)) (drop (i32.const 1788)) (drop (i32.const -4))""",
    "memory": """(i32.store8 offset=1276 align=1 (i32.const 0) (i32.const 9)) (memory.size) (drop)
        (drop (i64.load32_u offset=4294967295 (i32.const 0))) (drop (memory.grow (i32.const 1)))""",
    "bulk memory": """(memory.copy (i32.const 0) (i32.const 1) (i32.const 2))
        (memory.fill (i32.const 0) (i32.const 1) (i32.const 2))
        (memory.init $d (i32.const 0) (i32.const 0) (i32.const 0))""",
    "numbers": """(drop (i32.trunc_sat_f64_u (f64.const 1))) (drop (i64.extend32_s (i64.const 1)))
        (drop (f32.demote_f64 (f64.sqrt (f64.const 2))))
        (drop (i32.wrap_i64 (i64.clz (i64.const 1))))""",
    "references": """(drop (table.get $t (i32.const 0))) (drop (table.size $t))
        (drop (ref.is_null (ref.func $f))) (drop (ref.null extern))
        (drop (select (result funcref) (ref.null func) (ref.func $f) (i32.const 1)))""",
    "select": "(drop (select (i32.const 1) (i32.const 2) (i32.const 0)))",
    "vectors": """(drop (v128.const i8x16 38 38 252 9 252 13 252 14 252 15 252 17 0 0 0 11))
        (drop (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 31 (v128.const i64x2 1 2)
          (v128.const i64x2 1 2)))
        (drop (i8x16.extract_lane_u 15 (v128.load offset=300 (i32.const 0))))
        (v128.store16_lane offset=1 7 (i32.const 0) (v128.const i64x2 1 2))
        (drop (v128.load8_lane 3 (i32.const 0) (v128.const i64x2 1 2)))
        (drop (v128.load32_zero (i32.const 0))) (drop (v128.load64_splat (i32.const 0)))
        (drop (i64x2.replace_lane 1 (v128.const i64x2 1 2) (i64.const 38)))
        (drop (f64x2.promote_low_f32x4 (v128.const i64x2 1 2)))
        (drop (i64x2.mul (v128.const i64x2 1 2) (v128.const i64x2 1 2)))
        (drop (i32x4.trunc_sat_f64x2_u_zero (f64x2.nearest (v128.const i64x2 1 2))))
        (drop (v128.bitselect (v128.not (v128.const i64x2 1 2)) (v128.const i64x2 1 2)
          (v128.const i64x2 1 2)))""",
}
CHANGING = {
    "table.set": "(table.set $t (i32.const 0) (ref.null func))",
    "table.grow": "(drop (table.grow $t (ref.null func) (i32.const 1)))",
    "table.fill": "(table.fill $t (i32.const 0) (ref.null func) (i32.const 1))",
    "table.copy": "(table.copy $t $t (i32.const 0) (i32.const 1) (i32.const 1))",
    "table.init": "(table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1))",
    "elem.drop": "(elem.drop $e)",
    "data.drop": "(data.drop $d)",
}


def walked(*bodies: str) -> bool:
    """Whether the code of a module with these functions is found harmless."""
    functions = "\n".join(f"(func (local i32 i64) (local v128 f32) {body})" for body in bodies)
    text = f"""(module (memory 1) (table $t 8 funcref) (data $d "abcd") (elem $e func $f)
        (func $f) {functions})"""
    wasm = wat_to_wasm(text.encode(), Path("guest.wat"))
    return next(
        keeps_tables_and_segments(reader)
        for section, reader in walk(wasm)
        if section.kind == "code"
    )


@pytest.mark.parametrize("kind", HARMLESS)
def test_what_changes_nothing_passes(kind: str) -> None:
    """Instructions that leave tables and segments alone pass, whatever their immediates."""
    assert walked(HARMLESS[kind])


@pytest.mark.parametrize("before", ["", *HARMLESS.values()], ids=["first", *HARMLESS])
@pytest.mark.parametrize("kind", CHANGING)
def test_what_changes_a_table_or_drops_a_segment_is_found(kind: str, before: str) -> None:
    """Each instruction that cannot be undone is found, after any others and in any function."""
    assert not walked(HARMLESS["calls"], before, f"(block {CHANGING[kind]})")
    assert not walked(f"(block {before} (drop (i32.const 1))) {CHANGING[kind]}")


def test_padded_immediates_are_not_mistaken() -> None:
    """An opcode behind a prefix that is spelled longer than it must be is not let pass."""
    wasm = wat_to_wasm(b'(module (data $d "a") (func (data.drop $d)))', Path("guest.wat"))
    padded = wasm.replace(b"\x05\x00\xfc\x09\x00\x0b", b"\x06\x00\xfc\x89\x00\x00\x0b")
    padded = padded.replace(b"\x0a\x07\x01", b"\x0a\x08\x01")
    assert padded != wasm
    (found,) = [
        keeps_tables_and_segments(reader) for section, reader in walk(padded)
        if section.kind == "code"
    ]  # fmt: skip
    assert not found
