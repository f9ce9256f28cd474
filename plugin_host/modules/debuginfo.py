"""What a module says for traps: names of functions, and source lines (DWARF).

The engine reads it when a guest traps, in native code that no deadline ends. It is given what
cannot hurt: short names, and lines that were read and written anew (`sourcelines`).
"""

from __future__ import annotations

from typing import Final

from .bytereader import BinaryError, ByteReader
from .rewriting import leb128
from .sections import MAGIC, VERSION, number_of, walk
from .sourcelines import read_lines, write_lines

#: Bytes of a function's name; a backtrace has twenty, and shows less of each.
MAX_NAME: Final = 200
_PREFIX: Final = ".debug_"
_NAMES, _FUNCTIONS = "name", 1


def harmless_debuginfo(wasm: bytes) -> bytes:
    """Return the module with names and lines that cannot hurt; itself if it has no others.

    :raises BinaryError: the sections are malformed.
    """
    debug: dict[str, bytes] = {}
    parts, changed = [MAGIC + VERSION], False
    for section, reader in walk(wasm):
        content = whole = wasm[section.offset : section.offset + section.size]
        if section.name.startswith(_PREFIX):
            debug[section.name] = wasm[reader.at : reader.end]
            continue
        if section.name == _NAMES:
            content = _short_names(content, ByteReader(wasm, reader.at, reader.end))
        changed = changed or content is not whole
        parts.append(bytes((number_of(section.kind),)) + leb128(len(content)) + content)
    lines = read_lines(debug)
    parts += [_custom(name, data) for name, data in (write_lines(lines) if lines else {}).items()]
    return b"".join(parts) if debug or changed else wasm


def _custom(name: str, content: bytes) -> bytes:
    data = leb128(len(name)) + name.encode() + content
    return b"\0" + leb128(len(data)) + data


def _short_names(section: bytes, reader: ByteReader) -> bytes:
    """Return the section of names, itself if all are short; other names than functions' go."""
    try:
        names, others = _function_names(reader)
    except BinaryError:
        names, others = [], True
    if not others and all(len(name) <= MAX_NAME for _, name in names):
        return section
    entries = b"".join(
        leb128(index) + leb128(len(name)) + name
        for index, name in ((index, _cut(name)) for index, name in names)
    )
    functions = leb128(len(names)) + entries
    head = leb128(len(_NAMES)) + _NAMES.encode()
    return head + bytes((_FUNCTIONS,)) + leb128(len(functions)) + functions


def _function_names(reader: ByteReader) -> tuple[list[tuple[int, bytes]], bool]:
    """Read the functions' names, and whether other names are long."""
    names, others = [], False
    while reader.at < reader.end:
        kind, size = reader.byte("a kind of names"), reader.number("the size of names")
        start = reader.skip(size, "names")
        if kind != _FUNCTIONS:
            others = others or (kind == 0 and size > MAX_NAME)
            continue
        inner = ByteReader(reader.data, start, reader.at)
        for _ in range(inner.count("name")):
            index = inner.number("a function's index")
            length = inner.number("a name's length")
            at = inner.skip(length, "a name")
            names.append((index, reader.data[at : at + length]))
    return names, others


def _cut(name: bytes) -> bytes:
    return name[:MAX_NAME].decode(errors="ignore").encode()
