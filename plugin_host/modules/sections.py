"""Walks the sections of a core module: WebAssembly core specification, 5.5.2, 5.5.3 and 5.5.16."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .bytereader import BinaryError, ByteReader
from .moduleinfo import Section

MAGIC: Final = b"\0asm"
VERSION: Final = b"\1\0\0\0"

#: How many sections this host reads.
MAX_SECTIONS: Final = 10_000
_SECTIONS: Final = (
    "custom",
    "type",
    "import",
    "function",
    "table",
    "memory",
    "global",
    "export",
    "start",
    "element",
    "code",
    "data",
    "datacount",
    "tag",
)
#: The order that sections must have (5.5.16, and the place of the tag section).
_ORDER: Final = {
    section: at for at, section in enumerate((1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11))
}
#: Sections that hold one number and no vector.
_SCALAR: Final = ("start", "datacount")


def read_header(data: bytes) -> None:
    """Check magic number and version (5.5.16).

    :raises BinaryError: empty, truncated, text, a component, or anything else.
    """
    if not data:
        raise BinaryError(0, "the file is empty")
    if data[:4] != MAGIC[: len(data)]:
        # A .wat under the name of a .wasm is the likeliest mistake; text may start with a comment.
        text = data[:200].lstrip().startswith((b"(module", b"(;", b";;"))
        hint = "; it looks like text, which belongs in a .wat file" if text else ""
        raise BinaryError(0, f"a module starts with the bytes 00 61 73 6d{hint}")
    if len(data) < 8:
        raise BinaryError(len(data), "the file is truncated in its header")
    if data[6:8] == b"\1\0":
        raise BinaryError(4, "this is a component; build a core module instead")
    if data[4:8] != VERSION:
        version = int.from_bytes(data[4:8], "little")
        raise BinaryError(4, f"version {version} of the binary format is unknown; known is 1")


def custom_sections(data: bytes, name: str) -> list[bytes]:
    """Return the contents of the custom sections of that name, in order (5.5.3).

    :raises BinaryError: if the sections are malformed; what is in them is not read.
    """
    return [
        data[reader.at : reader.end]
        for section, reader in walk(data)
        if section.kind == "custom" and section.name == name
    ]


def walk(data: bytes) -> Iterator[tuple[Section, ByteReader]]:
    """Yield every section with a reader of its contents (5.5.2).

    :raises BinaryError: if the sections are malformed; what is in them is not read.
    """
    read_header(data)
    whole = ByteReader(data, 8, len(data))
    last = -1
    for _ in range(MAX_SECTIONS):
        if whole.at == whole.end:
            return
        start, number = whole.at, whole.byte("a section's id")
        if number >= len(_SECTIONS):
            raise BinaryError(start, f"section id {number} is unknown")
        if number:
            if _ORDER[number] <= last:
                rule = f"the {_SECTIONS[number]} section comes once, and in its place"
                raise BinaryError(start, rule)
            last = _ORDER[number]
        size = whole.number("a section's size")
        begin = whole.skip(size, f"the {_SECTIONS[number]} section")
        yield _section(_SECTIONS[number], ByteReader(data, begin, whole.at))
    if whole.at != whole.end:
        raise BinaryError(whole.at, f"this host reads at most {MAX_SECTIONS} sections")


def bodies(code: ByteReader) -> Iterator[ByteReader]:
    """Yield a reader of every function's body, given one of the code section (5.5.13)."""
    for _ in range(code.count("function body")):
        size = code.number("a function's size")
        start = code.skip(size, "a function's body")
        yield ByteReader(code.data, start, code.at)
    code.finish("code")


def count_locals(body: ByteReader) -> int:
    """Read how many locals a function declares, at the begin of its body (5.5.13)."""
    total = 0
    for _ in range(body.count("group of local")):
        total += body.number("a number of locals")
        body.byte("the type of locals")
    return total


def number_of(kind: str) -> int:
    """The id that sections of a kind begin with."""
    return _SECTIONS.index(kind)


def _section(kind: str, reader: ByteReader) -> tuple[Section, ByteReader]:
    offset, size = reader.at, reader.end - reader.at
    name = reader.name("a custom section's name") if kind == "custom" else ""
    count = None
    if kind != "custom" and kind not in _SCALAR:
        count = reader.count(kind)
        reader.at = offset
    return Section(kind, name, offset, size, count), reader
