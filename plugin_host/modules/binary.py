"""Reads a core module's binary format: what it imports and exports, without compiling it.

After the WebAssembly core specification, chapter 5 "Binary Format"; functions name its sections.
The input is hostile: every read is bounds-checked, what is kept is bounded by `caps` and a small
multiple of the input's size, and anything malformed is a `BinaryError`. This is no validator, the
engine is: bodies, initialisers and segments are skipped, so a module that passes here may still be
invalid. Types of proposals that the engine refuses (garbage collection, function references,
exceptions) are refused here, too.

Signatures are checked with this rather than with wasmtime's types, whose names abort the process
when a module exports a function that takes a vector.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from . import caps
from .bytereader import BinaryError, ByteReader
from .moduleinfo import KINDS, Export, FuncType, Import, Kind, Memory, ModuleInfo, Section
from .sections import custom_sections, read_header, walk

__all__ = [
    "BinaryError",
    "Export",
    "FuncType",
    "Import",
    "Kind",
    "Memory",
    "ModuleInfo",
    "Section",
    "custom_sections",
    "exports",
    "imports",
    "read_header",
    "read_module",
]

_T = TypeVar("_T")

#: The section that defines more of a kind.
_SECTION_OF: Final[dict[Kind, str]] = {
    "func": "function",
    "table": "table",
    "memory": "memory",
    "global": "global",
    "tag": "tag",
}
_VALUE_TYPES: Final = {
    0x7F: "i32",
    0x7E: "i64",
    0x7D: "f32",
    0x7C: "f64",
    0x7B: "v128",
    0x70: "funcref",
    0x6F: "externref",
}
_VALUE_BYTES: Final = bytes(_VALUE_TYPES)
_REFERENCE_TYPES: Final = (0x70, 0x6F)


def read_module(data: bytes) -> ModuleInfo:
    """Return what the module imports, exports and holds.

    :raises BinaryError: for anything malformed, and (`caps.TooMuch`) for too much of something.
    """
    sections, readers = [], {}
    for section, reader in walk(data):
        sections.append(section)
        if section.kind != "custom":
            readers[section.kind] = reader
    caps.check_sections(sections)
    counts = {section.kind: section.count or 0 for section in sections}
    if counts.get("function", 0) != counts.get("code", 0):
        raise BinaryError(
            len(data), "the code section has another number of bodies than there are functions"
        )
    return _Contents(data, readers, counts).info(tuple(sections))


def imports(data: bytes) -> list[tuple[str, str, Kind]]:
    """Return (module, name, kind) of every import, in order; raises as `read_module`."""
    return [(item.module, item.name, item.kind) for item in read_module(data).imports]


def exports(data: bytes) -> list[tuple[str, Kind, int]]:
    """Return (name, kind, index) of every export, in order; raises as `read_module`."""
    return [(item.name, item.kind, item.index) for item in read_module(data).exports]


class _Contents:
    """The sections that say what a module imports and exports, in the order they depend on."""

    def __init__(self, data: bytes, readers: dict[str, ByteReader], counts: dict[str, int]) -> None:
        self.data = data
        self.readers = readers
        # Where the parameters and results of each type are; decoded only when they are needed.
        self.types: list[tuple[int, int, int, int]] = []
        self.decoded: dict[int, FuncType] = {}
        self.functions = array("I")
        self.memories: list[Memory] = []
        self.tables: list[int] = []
        self.totals = {kind: counts.get(_SECTION_OF[kind], 0) for kind in KINDS}

    def info(self, sections: tuple[Section, ...]) -> ModuleInfo:
        self.types.extend(self._vector("type", self._function_type))
        imports = tuple(self._vector("import", self._import))
        imported = len(self.functions)
        self.functions.extend(self._vector("function", self._type_index))
        self.tables.extend(self._vector("table", self._table))
        self.memories.extend(self._vector("memory", self._memory))
        exports = tuple(self._vector("export", self._export))
        self._check_unique(exports)
        start = self._start()
        if code := self.readers.get("code"):
            caps.check_bodies(code, imported)
        widest = max((max(b - a, d - c) for a, b, c, d in self.types), default=0)
        memories, tables = tuple(self.memories), tuple(self.tables)
        return ModuleInfo(imports, exports, memories, tables, start, sections, widest)

    def _vector(self, what: str, element: Callable[[ByteReader], _T]) -> Iterator[_T]:
        reader = self.readers.get(what)
        if reader is None:
            return iter(())
        return reader.vector(what, lambda: element(reader))

    def _function_type(self, reader: ByteReader) -> tuple[int, int, int, int]:
        """Read where a function type's parts are (5.3.6)."""
        start = reader.at
        if reader.byte("a type") != 0x60:
            raise BinaryError(start, "a type is a function's; garbage collection is not supported")
        return (*self._result_type(reader), *self._result_type(reader))

    def _result_type(self, reader: ByteReader) -> tuple[int, int]:
        start, size = reader.at, reader.count("value type")
        caps.check(size, caps.VALUES, start, "has a function type of")
        start = reader.skip(size, "the value types")
        odd = self.data[start : reader.at].translate(None, _VALUE_BYTES)
        if odd:
            where = self.data.index(odd[:1], start, reader.at)
            raise BinaryError(where, f"value type {odd[0]:#04x} is none that this host knows")
        return start, reader.at

    def _decode(self, index: int) -> FuncType:
        if index not in self.decoded:
            first, second, third, fourth = self.types[index]
            params, results = self.data[first:second], self.data[third:fourth]
            self.decoded[index] = FuncType(
                tuple(_VALUE_TYPES[byte] for byte in params),
                tuple(_VALUE_TYPES[byte] for byte in results),
            )
        return self.decoded[index]

    def _type_index(self, reader: ByteReader) -> int:
        start, index = reader.at, reader.number("a type's index")
        if index >= len(self.types):
            raise BinaryError(start, f"there is no type {index}")
        return index

    def _import(self, reader: ByteReader) -> Import:
        """Read an import (5.5.5)."""
        module = self._name(reader, "an import's module")
        name = self._name(reader, "an import's name")
        kind = self._kind(reader)
        self.totals[kind] += 1
        if kind == "func":
            self.functions.append(self._type_index(reader))
            return Import(module, name, kind, self._decode(self.functions[-1]))
        if kind == "memory":
            self.memories.append(self._memory(reader))
        elif kind == "table":
            self.tables.append(self._table(reader))
        else:
            self._skip_type(kind, reader)
        return Import(module, name, kind)

    def _name(self, reader: ByteReader, what: str) -> str:
        start, name = reader.at, reader.name(what)
        caps.check(len(name.encode()), caps.NAME, start, f"has {what} of")
        return name

    def _kind(self, reader: ByteReader) -> Kind:
        start, number = reader.at, reader.byte("a kind")
        if number >= len(KINDS):
            raise BinaryError(start, f"kind {number} is none of {', '.join(KINDS)}")
        return KINDS[number]

    def _skip_type(self, kind: Kind, reader: ByteReader) -> None:
        """Step over the type of an imported global or tag (5.3.10)."""
        start, first = reader.at, reader.byte(f"the type of a {kind}")
        if kind == "global":
            if first not in _VALUE_TYPES or reader.byte("a global's mutability") > 1:
                raise BinaryError(start, "a global has a value type, and mutability 0 or 1")
        else:
            if first != 0:
                raise BinaryError(start, "a tag's attribute is 0")
            self._type_index(reader)

    def _table(self, reader: ByteReader) -> int:
        """Read a table's type (5.3.9), and return how many elements it begins with."""
        start = reader.at
        if reader.byte("the type of a table") not in _REFERENCE_TYPES:
            raise BinaryError(start, "a table holds funcref or externref")
        return _limits(reader).minimum

    def _memory(self, reader: ByteReader) -> Memory:
        """Read a memory's type (5.3.8)."""
        return _limits(reader)

    def _export(self, reader: ByteReader) -> Export:
        """Read an export (5.5.10)."""
        name, kind = self._name(reader, "an export's name"), self._kind(reader)
        start, index = reader.at, reader.number("an export's index")
        if index >= self.totals[kind]:
            raise BinaryError(start, f"there is no {kind} {index} to export as {name!r:.80}")
        kind_type = self._decode(self.functions[index]) if kind == "func" else None
        return Export(name, kind, index, kind_type)

    def _check_unique(self, exports: tuple[Export, ...]) -> None:
        seen: set[str] = set()
        for export in exports:
            if export.name in seen:
                at = self.readers["export"].at
                raise BinaryError(at, f"two exports have the name {export.name!r:.80}")
            seen.add(export.name)

    def _start(self) -> int | None:
        """Read the start section (5.5.11)."""
        reader = self.readers.get("start")
        if reader is None:
            return None
        begin, index = reader.at, reader.number("the start function's index")
        if index >= self.totals["func"]:
            raise BinaryError(begin, f"there is no func {index} to start with")
        reader.finish("start")
        return index


def _limits(reader: ByteReader) -> Memory:
    """Read limits (5.3.7), with the flags of shared and of 64-bit memories."""
    start, flags = reader.at, reader.byte("limits")
    if flags > 7:
        raise BinaryError(start, f"limits of kind {flags} are unknown")
    bits = 64 if flags & 4 else 32
    low = reader.number("the minimum size", bits)
    high = reader.number("the maximum size", bits) if flags & 1 else None
    return Memory(low, high, shared=bool(flags & 2), is64=bool(flags & 4))
