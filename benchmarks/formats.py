"""Two ways to write a request record, each as fast as plain Python makes it.

Both cache what depends only on the *shape* of a request (which keys its environ has, in which
order), fetch all values at once, join them once and encode them once. They differ in how a guest
finds a value: by a table of lengths (docs/abi.md), or by counting separators.
"""

from __future__ import annotations

import struct
from operator import itemgetter
from typing import Any

from benchmarks.glue import read_body
from benchmarks.works import Environ

_FIRST = {"REQUEST_METHOD": ":method", "PATH_INFO": ":path", "QUERY_STRING": ":query"}
_FLAG_BODY = 1


def _fields(environ: Environ, needs: frozenset[str] | None) -> dict[str, str]:
    """Environ key to field name, for the needed fields of this shape; None needs all."""
    names = {key: key[5:].replace("_", "-").lower() for key in environ if key.startswith("HTTP_")}
    if needs is not None:
        return {key: name for key, name in names.items() if name in needs}
    return _FIRST | names


class Indexed:
    """Length-indexed records, as in docs/abi.md."""

    def __init__(self, needs: frozenset[str] | None = None) -> None:
        self._needs = needs
        self._shapes: dict[tuple[str, ...], tuple[Any, bytes, Any]] = {}

    def _learn(self, shape: tuple[str, ...], environ: Environ) -> tuple[Any, bytes, Any]:
        fields = _fields(environ, self._needs)
        names = "".join(fields.values()).encode()
        names += bytes(-len(names) % 4)
        count = len(fields)
        lengths = struct.pack(f"<{count}I", *(len(name) for name in fields.values()))
        prefix = struct.pack("<BBHI", 1, 1, count, len(names)) + lengths + names
        known = itemgetter(*fields), prefix, struct.Struct(f"<{3 + count}I").pack
        self._shapes[shape] = known
        return known

    def encode(self, environ: Environ) -> bytes:
        """The record of this request."""
        shape = tuple(environ)
        known = self._shapes.get(shape) or self._learn(shape, environ)
        fetch, prefix, pack = known
        values = fetch(environ)
        body = read_body(environ)
        text = "".join(values).encode("latin-1")
        flags = _FLAG_BODY if body else 0
        lengths: bytes = pack(flags, 0, len(body), *map(len, values))
        return prefix + lengths + text + body


class Joined:
    """Separator-joined records: names and values joined by NUL, which may occur in neither."""

    def __init__(self, needs: frozenset[str] | None = None) -> None:
        self._needs = needs
        self._shapes: dict[tuple[str, ...], tuple[Any, bytes, int]] = {}

    def _learn(self, shape: tuple[str, ...], environ: Environ) -> tuple[Any, bytes, int]:
        fields = _fields(environ, self._needs)
        names = "\0".join(fields.values()).encode() + b"\0"
        known = itemgetter(*fields), struct.pack("<I", len(names)) + names, len(fields) - 1
        self._shapes[shape] = known
        return known

    def encode(self, environ: Environ) -> bytes:
        """The record of this request, without a body.

        Raises `ValueError` when a value holds the separator.
        """
        shape = tuple(environ)
        known = self._shapes.get(shape) or self._learn(shape, environ)
        fetch, prefix, separators = known
        text = "\0".join(fetch(environ)).encode("latin-1")
        if text.count(0) != separators:
            raise ValueError("a value holds the separator")
        return prefix + text
