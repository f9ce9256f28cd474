"""What guests pass to the functions of state, judged before it is read."""

from __future__ import annotations

from math import inf
from struct import Struct
from typing import Final

from ..errors import StateQuota, StateValueError
from ..state import MAX_BATCH, MAX_KEY
from ..wasm.instance import Instance
from .state_packing import FOR_EVER

#: No floor and no ceiling of an addition, as i64 and as f64.
LOWEST: Final = -FOR_EVER - 1
HIGHEST: Final = FOR_EVER
INFINITY: Final = inf
#: The most bytes of packed keys.
MAX_KEYS: Final = MAX_BATCH * (4 + MAX_KEY)

I64: Final = Struct("<q")
F64: Final = Struct("<d")
_u64 = Struct("<Q").pack


def read_key(instance: Instance, pointer: int, length: int) -> bytes:
    """Read a key or prefix; namespaces check the rest.

    :raises StateQuota: it is longer than any may be.
    :raises GuestTrap: it is outside the guest's memory.
    """
    if length > MAX_KEY:
        raise StateQuota(f"a key of {length} bytes is longer than any may be", "key_size")
    return instance.read(pointer, length)


def check_batch(size: int, most: int) -> None:
    """Refuse packed keys and values that no operation could be of.

    :param size: theirs, in bytes; so is ``most``.
    :raises StateValueError: they are more.
    """
    if size > most:
        what = f"{size} bytes of keys and values in one operation are more than {most}"
        raise StateValueError(f"{what}; make several of it", "batch")


def signed(bits: int) -> int:
    """Return the i64 that an argument is."""
    return bits - (1 << 64) if bits >> 63 else bits


def double(bits: int) -> float:
    """Return the f64 whose bits an argument is."""
    number: float = F64.unpack(_u64(bits))[0]
    return number


def seconds(bits: int) -> float | None:
    """Return the time to live that an argument is."""
    return None if bits == FOR_EVER else signed(bits) / 1000
