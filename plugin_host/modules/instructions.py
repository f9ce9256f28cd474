"""Walks the instructions of a module's code: WebAssembly core specification, 5.4.

One regular expression holds every instruction that leaves tables and segments as they are, so that
code is walked at the speed of `re`. An instruction that it does not know ends the walk: what is
newer than this file is taken for one that changes something.
"""

from __future__ import annotations

import re
from typing import Final

from .bytereader import BinaryError, ByteReader

_INTEGER: Final = rb"[\x80-\xff]*+[\x00-\x7f]"  # in LEB128, of any size and sign


def _all_but_end() -> bytes:
    integer, memarg = _INTEGER, _INTEGER * 2
    return b"|".join(
        (
            rb"[\x00\x01\x05\x0f\x1a\x1b\x45-\xc4\xd1]",  # no immediates
            rb"[\x02-\x04\x0c\x0d\x10\x12\x20-\x25\x3f-\x42\xd0\xd2]" + integer,
            rb"[\x11\x13\x28-\x3e]" + memarg,  # indirect calls; loads and stores
            rb"\x1c\x01.",  # select of a type
            rb"\x43.{4}|\x44.{8}",  # f32.const, f64.const
            rb"\xfc(?:[\x00-\x07]|[\x08\x0a]" + memarg + rb"|[\x0b\x10]" + integer + rb")",
            # vectors: memory, constants and shuffles, lanes, lanes in memory, the others
            rb"\xfd(?:[\x00-\x0b\x5c\x5d]" + memarg + rb"|[\x0c\x0d].{16}|[\x15-\x22]."
            rb"|[\x54-\x5b]" + memarg + rb".|[\x0e-\x14\x23-\x53\x5e-\x7f]|[\x80-\xff]\x01)",
        )
    )


#: Left out: table.set (26), data.drop (fc 09), table.init (fc 0c), elem.drop (fc 0d), table.copy
#: (fc 0e), table.grow (fc 0f), table.fill (fc 11).
_HARMLESS: Final = re.compile(rb"(?:\x0b|" + _all_but_end() + rb")*+", re.DOTALL)
_CONSTANT: Final = re.compile(rb"(?:" + _all_but_end() + rb")*+\x0b", re.DOTALL)
_BR_TABLE: Final = 0x0E


def skip_constant(reader: ByteReader) -> None:
    """Step over a constant expression (5.4.9).

    :raises BinaryError: it is none, or has an instruction that this host does not know.
    """
    found = _CONSTANT.match(reader.data, reader.at, reader.end)
    if found is None:
        raise BinaryError(reader.at, "a constant expression is none that this host knows")
    reader.at = found.end()


def keeps_tables_and_segments(code: ByteReader) -> bool:
    """Whether no instruction of a valid module's code section changes a table or drops a segment.

    :param code: at the section's begin.
    """
    for _ in range(code.count("function body")):
        size = code.number("a body's size")
        begin = code.skip(size, "a body")
        body = ByteReader(code.data, begin, code.at)
        for _ in range(body.number("the number of local groups")):
            body.number("a group's size")
            body.byte("a local's type")
        if not _is_harmless(body):
            return False
    return True


def _is_harmless(body: ByteReader) -> bool:
    while True:
        found = _HARMLESS.match(body.data, body.at, body.end)
        body.at = found.end() if found else body.at
        if body.at == body.end:
            return True
        if body.byte("an instruction") != _BR_TABLE:
            return False
        for _ in range(body.number("the number of labels") + 1):
            body.number("a label")
