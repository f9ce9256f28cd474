"""Rewrites a module so that its instances can be put back to how they were after their making.

Linear memory is restored from outside (`snapshot`); globals that are not exported cannot be, and
tables and dropped segments not at all. So each mutable global gets a twin, a new export copies all
globals to their twins, and every hook is wrapped: after the guest's function has returned, its
globals are set to their twins again, which takes no further call of the host's. A module whose code
could change a table or drop a segment is not rewritten.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from .bytereader import BinaryError, ByteReader
from .instructions import keeps_tables_and_segments, skip_constant
from .moduleinfo import KINDS, Export, Kind, ModuleInfo
from .sections import MAGIC, VERSION, number_of, walk

#: The export that notes how the instance is; no module may have one of this name.
KEEP: Final = "ph_keep"

#: By value type, the constant expression of its zero.
_ZEROS: Final = {
    0x7F: b"\x41\0\x0b",
    0x7E: b"\x42\0\x0b",
    0x7D: b"\x43" + bytes(4) + b"\x0b",
    0x7C: b"\x44" + bytes(8) + b"\x0b",
    0x7B: b"\xfd\x0c" + bytes(16) + b"\x0b",
    0x70: b"\xd0\x70\x0b",
    0x6F: b"\xd0\x6f\x0b",
}
#: The types () -> () and (i32) -> (i64).
_TYPES: Final = (b"\x60\0\0", b"\x60\1\x7f\1\x7e")
_MUTABLE: Final = 1
_I32: Final = 0x7F


@dataclass(frozen=True, slots=True)
class _Global:
    index: int
    type: int


def restorable(wasm: bytes, info: ModuleInfo, hooks: Sequence[str]) -> bytes | None:
    """Return the module with hooks that put its globals back; None if that would not be enough.

    After a call that made memory grow, they read what was added last: that is a page fault, if it
    has not been one before, and tells the host (`snapshot`).

    :param wasm: a module that the engine has found valid: the code of another one could call or
        set what is added here.
    :param hooks: the names of functions of type ``(i32) -> (i64)`` that it exports.
    """
    readers = {section.kind: reader for section, reader in walk(wasm)}
    code = readers.get("code")
    if code is None or "function" not in readers or info.export(KEEP) is not None:
        return None  # no module that has a hook of its own
    if not keeps_tables_and_segments(code):
        return None
    try:
        mutable = _mutable_globals(readers.get("global"), _imported(info, "global"))
    except BinaryError:
        return None
    added = _additions(info, [item for item in info.exports if item.name in hooks], mutable)
    return MAGIC + VERSION + b"".join(_rewritten(wasm, info, added))


def _imported(info: ModuleInfo, kind: str) -> int:
    return sum(item.kind == kind for item in info.imports)


def _mutable_globals(reader: ByteReader | None, first: int) -> list[_Global]:
    """Read the global section (5.5.9); raises BinaryError for types that have no zero here."""
    found: list[_Global] = []
    if reader is None:
        return found
    for index in range(first, first + reader.count("global")):
        start, kind = reader.at, reader.byte("a global's type")
        if reader.byte("a global's mutability") == _MUTABLE:
            if kind not in _ZEROS:
                raise BinaryError(start, "a mutable global of a type that this host does not know")
            found.append(_Global(index, kind))
        skip_constant(reader)
    return found


class _Additions(NamedTuple):
    """What each section gets, and the function that takes each hook's place."""

    items: dict[str, list[bytes]]
    wrappers: dict[str, int]


def _additions(info: ModuleInfo, hooks: Iterable[Export], mutable: list[_Global]) -> _Additions:
    counts = {section.kind: section.count or 0 for section in info.sections}
    types = counts["type"]
    functions = _imported(info, "func") + counts["function"]
    size = _imported(info, "global") + counts.get("global", 0)
    pairs = [(each.index, size + 1 + i) for i, each in enumerate(mutable)]
    keep = b"".join(_move(own, other) for own, other in pairs) + _keep_size(size)
    back = b"".join(_move(other, own) for own, other in pairs) + _touch_growth(size)
    # One function for all hooks: a module may have thousands, and of globals as well.
    bodies, wrappers = [_body(keep), _body(back)], {}
    put_back = b"\x10" + leb128(functions + 1)  # call
    for hook in hooks:
        wrappers[hook.name] = functions + len(bodies)
        bodies.append(_body(b"\x20\0\x10" + leb128(hook.index) + put_back))  # local.get 0, call
    items = {
        "type": list(_TYPES),
        "function": [*[leb128(types)] * 2, *[leb128(types + 1)] * len(wrappers)],
        "global": [
            bytes((kind, _MUTABLE)) + _ZEROS[kind]
            for kind in (_I32, *(each.type for each in mutable))
        ],
        "export": [_export(KEEP, "func", functions)],
        "code": bodies,
    }
    return _Additions(items, wrappers)


def _move(source: int, target: int) -> bytes:
    return b"\x23" + leb128(source) + b"\x24" + leb128(target)  # global.get, global.set


def _keep_size(kept: int) -> bytes:
    return b"\x3f\0\x24" + leb128(kept)  # memory.size, global.set


def _touch_growth(kept: int) -> bytes:
    """If memory is larger than it was kept: write its last byte to itself."""
    last = b"\x3f\0\x41\x10\x74\x41\x01\x6b"  # memory.size << 16, less 1
    touch = last * 2 + b"\x2d\0\0\x3a\0\0"  # i32.load8_u, i32.store8
    return b"\x3f\0\x23" + leb128(kept) + b"\x47\x04\x40" + touch + b"\x0b"  # i32.ne, if


def _body(instructions: bytes) -> bytes:
    return _sized(b"\0" + instructions + b"\x0b")  # no locals


def _export(name: str, kind: Kind, index: int) -> bytes:
    return _sized(name.encode()) + bytes((KINDS.index(kind),)) + leb128(index)


def _rewritten(wasm: bytes, info: ModuleInfo, added: _Additions) -> Iterable[bytes]:
    """Yield every section, with its additions."""
    for section, reader in walk(wasm):
        more = added.items.get(section.kind, [])
        if section.kind == "export":
            if all(other.kind != "global" for other in info.sections):  # its place is here
                yield _vector("global", 0, b"", added.items["global"])
            exports = [
                _export(item.name, item.kind, added.wrappers.get(item.name, item.index))
                for item in info.exports
            ]
            yield _vector("export", 0, b"", exports + more)
        elif more:
            count = reader.count(section.kind)
            yield _vector(section.kind, count, wasm[reader.at : reader.end], more)
        else:
            content = wasm[section.offset : section.offset + section.size]
            yield bytes((number_of(section.kind),)) + _sized(content)


def _vector(kind: str, count: int, elements: bytes, more: list[bytes]) -> bytes:
    """A section that is a vector, with more elements."""
    content = leb128(count + len(more)) + elements + b"".join(more)
    return bytes((number_of(kind),)) + _sized(content)


def _sized(content: bytes) -> bytes:
    return leb128(len(content)) + content


def leb128(value: int) -> bytes:
    """An unsigned integer in LEB128 (5.2.2)."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
