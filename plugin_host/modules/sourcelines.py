"""Source lines of a module's code, out of and into DWARF's line tables (DWARF 5, section 6.2).

The engine looks lines up when a guest traps, in native code that trusts its input: functions that
are said to be inlined into each other some thousand deep overflow the stack and end the process.
So a plugin's own tables are read here, as hostile bytes, and what the engine gets is written anew
(docs/rationale.md, "Why is debugging information written anew?").
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from .bytereader import BinaryError, ByteReader
from .rewriting import leb128

#: Bytes of line tables that are read, and rows that are kept: of some 200 kB of code.
MAX_TABLES: Final = 256 << 10
MAX_ROWS: Final = 20_000
#: Bytes of a file's name.
MAX_NAME: Final = 100

_PATH: Final = 1  # DW_LNCT_path
_BLOCK, _STRING, _STRP, _UDATA, _LINE_STRP = 0x09, 0x08, 0x0E, 0x0F, 0x1F
#: Sizes of the other forms that a table's files may have.
_SIZES: Final = {0x0B: 1, 0x05: 2, 0x06: 4, 0x07: 8, 0x1E: 16}
#: Standard opcodes with that many operands in LEB128, from 1 on.
_OPERANDS: Final = bytes((0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1))


class Row(NamedTuple):
    """From an address on, relative to the code section, code is of a line of a file."""

    address: int
    file: str
    line: int


@dataclass(slots=True)
class Sequence:
    """Rows in the order of their addresses, up to an end."""

    rows: list[Row] = field(default_factory=list)
    end: int = 0

    @property
    def start(self) -> int:
        return self.rows[0].address


def read_lines(sections: Mapping[str, bytes]) -> list[Sequence]:
    """Return what a module's line tables say, in order; nothing if it is too much, or malformed.

    :param sections: the contents of those that hold DWARF, by name.
    """
    tables = sections.get(".debug_line", b"")
    if len(tables) > MAX_TABLES:
        return []
    found: list[Sequence] = []
    try:
        reader, rows = ByteReader(tables, 0, len(tables)), 0
        while reader.at < reader.end:
            size = _u32(reader)
            start = reader.skip(size, "a line table")
            for sequence in _Table(ByteReader(tables, start, reader.at), sections).sequences():
                found.append(sequence)
                rows += len(sequence.rows)
                if rows > MAX_ROWS:
                    return []
    except BinaryError:
        return []
    return list(_apart(found))


def _apart(sequences: Iterable[Sequence]) -> Iterator[Sequence]:
    """Yield those that make sense, and overlap none before them.

    Linkers leave tables of code that they have removed, at address 0 or beyond all code.
    """
    end = 0
    for each in sorted((each for each in sequences if each.rows), key=lambda each: each.start):
        addresses = [row.address for row in each.rows] + [each.end]
        if max(end, 1) <= each.start < each.end < 1 << 31 and addresses == sorted(addresses):
            end = each.end
            yield each


class _Table:
    """One line table: its header, and then its program."""

    def __init__(self, reader: ByteReader, sections: Mapping[str, bytes]) -> None:
        self._reader = reader
        self._sections = sections
        self.version = _uint(reader, 2)
        if not 2 <= self.version <= 5:
            raise BinaryError(reader.at, "a line table has version 2 to 5")
        if self.version == 5:
            reader.skip(2, "sizes of addresses")
        program = _u32(reader) + reader.at
        self._step = reader.byte("the shortest instruction")
        if self.version >= 4:
            reader.byte("operations of an instruction")
        reader.byte("whether rows are statements")
        self._base = (reader.byte("the line base") ^ 0x80) - 0x80
        self._range = reader.byte("the line range")
        self._first = reader.byte("the first special opcode")
        if not self._range or not self._first:
            raise BinaryError(reader.at, "the line range and the first special opcode are not 0")
        at = reader.skip(self._first - 1, "the opcodes' operands")
        self._operands = reader.data[at : reader.at]
        self._files = self._entries() if self.version == 5 else self._older_files()
        if program < reader.at:
            raise BinaryError(reader.at, "the header is longer than it says")
        reader.skip(program - reader.at, "the header's rest")

    def _older_files(self) -> list[str]:
        reader, files = self._reader, [""]
        while _string(reader):
            pass  # folders
        while name := _string(reader):
            files.append(_base_name(name))
            for _ in range(3):
                reader.number("a file's number", 64)
        return files

    def _entries(self) -> list[str]:
        """Read the folders, then the files."""
        files: list[str] = []
        for _ in range(2):
            files = list(self._vector())
        return files

    def _vector(self) -> Iterator[str]:
        reader = self._reader
        forms = [
            (reader.number("a content type"), reader.number("a form"))
            for _ in range(reader.byte("the number of forms"))
        ]
        count = reader.count("entry")
        for _ in range(count if forms else 0):
            name = b""
            for content, form in forms:
                value = self._value(form)
                name = value if content == _PATH else name
            yield _base_name(name)

    def _value(self, form: int) -> bytes:
        reader = self._reader
        if form == _STRING:
            return _string(reader)
        if form in (_STRP, _LINE_STRP):
            strings = self._sections.get(".debug_str" if form == _STRP else ".debug_line_str", b"")
            at = _u32(reader)
            return strings[at : at + 4096].partition(b"\0")[0]
        if form == _UDATA:
            reader.number("a file's number", 64)
            return b""
        size = reader.number("a block's size") if form == _BLOCK else _SIZES.get(form)
        if size is None:
            raise BinaryError(reader.at, f"form {form} is none of a line table")
        reader.skip(size, "a value")
        return b""

    def sequences(self) -> Iterator[Sequence]:
        """Run the program."""
        reader, first, width = self._reader, self._first, self._range
        address, file, line, sequence = 0, 1, 1, Sequence()
        while reader.at < reader.end:
            op = reader.byte("an opcode")
            if op >= first:
                steps, more = divmod(op - first, width)
                address += steps * self._step
                line += self._base + more
                self._emit(sequence, address, file, line)
            elif not op:
                size = reader.number("an opcode's size")
                at = reader.skip(size, "an extended opcode")
                what, operand = reader.data[at : at + 1], reader.data[at + 1 : at + size]
                if what == b"\x01":
                    sequence.end = address
                    yield sequence
                    address, file, line, sequence = 0, 1, 1, Sequence()
                elif what == b"\x02":
                    address = int.from_bytes(operand[:8], "little")
            elif op == 1:
                self._emit(sequence, address, file, line)
            elif op == 2:
                address += reader.number("an advance", 64) * self._step
            elif op == 3:
                line += _signed(reader)
            elif op == 4:
                file = reader.number("a file", 64)
            elif op == 8:
                address += (255 - first) // width * self._step
            elif op == 9:
                address += _uint(reader, 2)
            else:
                for _ in range(self._operands[op - 1]):
                    reader.number("an operand", 64)

    def _emit(self, sequence: Sequence, address: int, file: int, line: int) -> None:
        name = (self._files[file] if file < len(self._files) else "") or "?"
        last = sequence.rows[-1] if sequence.rows else None
        if not 0 < line < 1 << 31 or (last is not None and last[1:] == (name, line)):
            return
        if len(sequence.rows) > MAX_ROWS:
            raise BinaryError(self._reader.at, "there are more rows than are kept")
        sequence.rows.append(Row(address, name, line))


def _uint(reader: ByteReader, size: int) -> int:
    at = reader.skip(size, "a number")
    return int.from_bytes(reader.data[at : at + size], "little")


def _u32(reader: ByteReader) -> int:
    return _uint(reader, 4)


def _signed(reader: ByteReader) -> int:
    start = reader.at
    value = reader.number("an advance", 70)
    bits = 7 * (reader.at - start)
    return value - (1 << bits) if value >> (bits - 1) else value


def _string(reader: ByteReader) -> bytes:
    end = reader.data.find(b"\0", reader.at, reader.end)
    if end < 0:
        raise BinaryError(reader.at, "a text does not end")
    start = reader.skip(end + 1 - reader.at, "a text")
    return reader.data[start:end]


def _base_name(path: bytes) -> str:
    name = path.decode("utf-8", "replace").replace("\\", "/").rpartition("/")[2]
    return "".join(c if c.isprintable() else "?" for c in name[:MAX_NAME]).strip()


_ABBREVIATIONS: Final = bytes((1, 0x11, 0, 0x10, 0x17, 0x11, 0x01, 0x12, 0x06, 0, 0, 0))


def write_lines(sequences: list[Sequence]) -> dict[str, bytes]:
    """Return DWARF sections that say no more than these lines: one unit, without functions."""
    low, high = sequences[0].start, sequences[-1].end
    # A compilation unit: the table's offset, its lowest address, and how many bytes there are.
    unit = struct.pack("<HIBBIII", 4, 0, 4, 1, 0, low, high - low)
    files = {name: 0 for each in sequences for _, name, _ in each.rows}
    files = {name: number for number, name in enumerate(files, 1)}
    names = b"".join(name.encode() + b"\0\0\0\0" for name in files)
    header = bytes((1, 1, 1, 251, 14, 13)) + _OPERANDS + b"\0" + names + b"\0"
    program = b"".join(_program(each, files) for each in sequences)
    table = struct.pack("<HI", 4, len(header)) + header + program
    return {
        ".debug_abbrev": _ABBREVIATIONS,
        ".debug_info": struct.pack("<I", len(unit)) + unit,
        ".debug_line": struct.pack("<I", len(table)) + table,
    }


def _program(sequence: Sequence, files: Mapping[str, int]) -> bytes:
    parts = [b"\0\5\2" + struct.pack("<I", sequence.start)]
    address, file, line = sequence.start, 1, 1
    for row in sequence.rows:
        if row.address != address:
            parts.append(b"\2" + leb128(row.address - address))
        if files[row.file] != file:
            parts.append(b"\4" + leb128(files[row.file]))
        if row.line != line:
            parts.append(b"\3" + _sleb128(row.line - line))
        parts.append(b"\1")
        address, file, line = row.address, files[row.file], row.line
    return b"".join((*parts, b"\2" + leb128(sequence.end - address), b"\0\1\1"))


def _sleb128(value: int) -> bytes:
    out = bytearray()
    while not -64 <= value < 64:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value & 0x7F)
    return bytes(out)
