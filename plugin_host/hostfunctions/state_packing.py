"""Several keys or values as one run of bytes (docs/abi.md, "Packed keys and values")."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from struct import Struct
from typing import Final

from ..abi.records import ABSENT
from ..errors import GuestTrap, StateValueError
from ..state import MAX_BATCH, Page

#: A time to live that never ends, in milliseconds.
FOR_EVER: Final = (1 << 63) - 1

_length = Struct("<I")
_lengths = Struct("<II")
_entry = Struct("<IIq")
_code = Struct("<i")


def unpack_keys(data: bytes) -> Iterator[bytes]:
    """Yield the keys.

    :raises GuestTrap: the run is cut off.
    :raises StateValueError: there are more than one operation takes; the rest is not looked at.
    """
    at, end, left = 0, len(data), MAX_BATCH
    while at < end:
        left = _one_less(left)
        start = at + 4
        if start > end:
            raise _cut_off(at)
        at = start + _length.unpack_from(data, at)[0]
        if at > end:
            raise _cut_off(start)
        yield data[start:at]


def unpack_items(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values; raises as `unpack_keys`."""
    at, end, left = 0, len(data), MAX_BATCH
    while at < end:
        left = _one_less(left)
        start = at + 8
        if start > end:
            raise _cut_off(at)
        key_len, value_len = _lengths.unpack_from(data, at)
        middle = start + key_len
        at = middle + value_len
        if at > end:
            raise _cut_off(start)
        yield data[start:middle], data[middle:at]


def _one_less(left: int) -> int:
    if not left:
        what = f"more than {MAX_BATCH} keys in one operation; make several of it"
        raise StateValueError(what, "batch")
    return left - 1


def packed_length(values: Iterable[bytes | None]) -> int:
    """Return the length of what `pack_values` makes."""
    return sum(4 if value is None else 4 + len(value) for value in values)


def pack_values(values: Iterable[bytes | None]) -> bytes:
    """Return values, of which None is no such key."""
    parts = []
    for value in values:
        parts.append(_length.pack(ABSENT if value is None else len(value)))
        if value is not None:
            parts.append(value)
    return b"".join(parts)


def pack_items(keys: Sequence[bytes], values: Iterable[bytes | None]) -> bytes:
    """Return keys with their values, of which None is no such key."""
    parts = []
    for key, value in zip(keys, values, strict=True):
        parts.append(_lengths.pack(len(key), ABSENT if value is None else len(value)))
        parts.append(key)
        if value is not None:
            parts.append(value)
    return b"".join(parts)


def pack_field(
    error: int, keys: Sequence[bytes] = (), values: Iterable[bytes | None] = ()
) -> bytes:
    """Return the field ``:state`` of a record.

    :param error: 0, or the result that tells the guest why nothing was read.
    """
    return _code.pack(error) + pack_items(keys, values)


def pack_page(page: Page) -> bytes:
    """Return a page of a list."""
    parts = [_length.pack(len(page.cursor)), page.cursor]
    for key, size, ttl in page.entries:
        left = FOR_EVER if ttl is None else round(ttl * 1000)
        parts.append(_entry.pack(len(key), size, left))
        parts.append(key)
    return b"".join(parts)


def _cut_off(at: int) -> GuestTrap:
    return GuestTrap(f"packed keys or values are cut off at byte {at}", "host")
