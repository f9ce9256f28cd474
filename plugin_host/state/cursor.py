"""Cursors: where a list goes on, checked to be of the same namespace and prefix."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from plugin_host.errors import StateValueError

_CHECK: Final = 8  # bytes


def cursor_after(space: str, prefix: bytes, key: bytes) -> bytes:
    """Return the cursor of a list that has come as far as ``key``."""
    return _check(space, prefix, key) + key


def start_of(space: str, prefix: bytes, cursor: bytes) -> bytes:
    """Return the first key that may follow; without a cursor, the first that has the prefix.

    :raises StateValueError: the cursor is not one that this list gave.
    """
    if not cursor:
        return prefix
    key = cursor[_CHECK:]
    if cursor[:_CHECK] != _check(space, prefix, key) or not key.startswith(prefix):
        raise StateValueError(
            "the cursor is not one that a list of this namespace and prefix gave; begin the list"
            " again, without a cursor",
            "cursor",
        )
    return key + b"\0"


def _check(space: str, prefix: bytes, key: bytes) -> bytes:
    name = space.encode()
    head = b"%d:%d:" % (len(name), len(prefix))
    return blake2b(head + name + prefix + key, digest_size=_CHECK).digest()
