"""Debugging information (DWARF), by which traps name source lines: kept unless it is large."""

from __future__ import annotations

from typing import Final

from .moduleinfo import Section
from .rewriting import leb128
from .sections import MAGIC, VERSION, number_of, walk

#: Bytes of DWARF that are kept: docs/rationale.md, "Why is large debugging information dropped?".
MAX_DEBUG: Final = 512 << 10
_PREFIX: Final = ".debug_"


def without_large_debuginfo(wasm: bytes) -> bytes:
    """Return the module, without its DWARF if that is large; functions keep their names.

    :raises BinaryError: the sections are malformed.
    """
    if _PREFIX.encode() not in wasm:
        return wasm
    sections = [section for section, _ in walk(wasm)]
    kept = [section for section in sections if not section.name.startswith(_PREFIX)]
    if sum(section.size for section in sections) - sum(s.size for s in kept) <= MAX_DEBUG:
        return wasm
    return MAGIC + VERSION + b"".join(_written(wasm, section) for section in kept)


def _written(wasm: bytes, section: Section) -> bytes:
    content = wasm[section.offset : section.offset + section.size]
    return bytes([number_of(section.kind)]) + leb128(section.size) + content
