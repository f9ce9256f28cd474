"""Records (``docs/abi.md``, section 4): what both kinds share, and response records.

Everything up to a record's values depends only on which fields there are: its *shape*. A shape's
bytes and the packer of its value table are made once and kept, so that a record costs one look-up,
one join and one encoding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from struct import Struct
from typing import Any, Literal

from ..manifest import AllBut

BODY = 1
BODY_OMITTED = 2
"""Flags: the body is there; it was needed and is not there."""

ABSENT = 0xFFFFFFFF
REQUEST, RESPONSE = 1, 2

# A client chooses which headers it sends, so what it can make us keep is bounded: in number by
# clearing, and in size by not keeping long shapes.
MAX_SHAPES = 256
MAX_SHAPE_PREFIX = 4096

Pack = Callable[..., bytes]


def prefix(kind: int, names: list[str]) -> bytes:
    """Return a record up to its flags."""
    text = "".join(names)
    if text.isascii():
        lengths = [len(name) for name in names]
        block = text.encode("ascii")
    else:
        encoded = [wire_bytes(name) for name in names]
        lengths = [len(name) for name in encoded]
        block = b"".join(encoded)
    block += b"\0" * (-len(block) % 4)
    return _head_packer(len(names))(1, kind, len(names), len(block), *lengths) + block


@lru_cache(maxsize=256)
def _head_packer(count: int) -> Pack:
    return Struct(f"<BBHI{count}I").pack


@lru_cache(maxsize=256)
def table_packer(count: int) -> Pack:
    """Return what packs flags, status, body_len and `count` value lengths."""
    return Struct(f"<{3 + count}I").pack


def wire_bytes(text: object) -> bytes:
    """Return WSGI text as the bytes it stands for; text that cannot stand for bytes as UTF-8."""
    text = str(text)
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def careful_values(
    pack: Pack, flags: int, status: int, body: bytes, values: Iterable[object], *tail: bytes | None
) -> bytes:
    """Return what follows the prefix, slowly, whatever the values are; None is absent."""
    encoded = [None if value is None else wire_bytes(value) for value in values]
    encoded += tail
    lengths = [ABSENT if value is None else len(value) for value in encoded]
    return pack(flags, status, len(body), *lengths) + b"".join(filter(None, encoded)) + body


def remember(shapes: dict[tuple[str, ...], Any], key: tuple[str, ...], shape: Any) -> None:
    """Keep a shape, whose first member is its prefix, within the bounds."""
    if len(shape[0]) <= MAX_SHAPE_PREFIX:
        if len(shapes) >= MAX_SHAPES:
            shapes.clear()
        shapes[key] = shape


class ResponseEncoder:
    """Encodes response records of one plugin; safe to share between threads.

    :param headers: the headers that are needed, or all but which, in any case; or True for all that
        there are.
    :param context: whether ``:context`` is needed.

    The record has the headers, in their order and with their repetitions, then ``:context``.
    Declared headers that the response does not have are left out.
    """

    __slots__ = ("_context", "_shapes", "_wanted")

    def __init__(
        self, headers: Literal[True] | tuple[str, ...] | AllBut = True, context: bool = False
    ) -> None:
        self._wanted: frozenset[str] | None = None
        if headers is not True:
            kind = AllBut if isinstance(headers, AllBut) else frozenset
            self._wanted = kind(map(str.lower, headers))
        self._context = context
        self._shapes: dict[tuple[str, ...], tuple[bytes, Pack]] = {}

    def encode(
        self,
        status: int,
        headers: list[tuple[str, str]],
        context: bytes | None = None,
        body: bytes = b"",
        flags: int = 0,
    ) -> bytes:
        """Return the record; `context` is None when the plugin set none."""
        wanted = self._wanted
        if wanted is not None:
            # With nothing wanted there is nothing to look through.
            headers = [pair for pair in headers if pair[0].lower() in wanted] if wanted else []
        names, values = zip(*headers, strict=True) if headers else ((), ())
        shape = self._shapes.get(names)
        if shape is None:
            shape = self._shape(names)
            remember(self._shapes, names, shape)
        start, pack = shape
        try:
            text = "".join(values).encode("latin-1")
            if self._context:
                size = ABSENT if context is None else len(context)
                table = pack(flags, status, len(body), *map(len, values), size)
                return b"".join((start, table, text, context or b"", body))
            table = pack(flags, status, len(body), *map(len, values))
            return b"".join((start, table, text, body))
        except (TypeError, UnicodeEncodeError):
            tail = (context,) if self._context else ()
            return start + careful_values(pack, flags, status, body, values, *tail)

    def _shape(self, names: tuple[str, ...]) -> tuple[bytes, Pack]:
        fields = [name.lower() for name in names]
        if self._context:
            fields.append(":context")
        return prefix(RESPONSE, fields), table_packer(len(fields))
