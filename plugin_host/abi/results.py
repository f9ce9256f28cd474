"""How host functions hand bytes to guests: their length is the result, and what fits is written."""

from __future__ import annotations

from typing import Final

from ..wasm.instance import Instance

#: The result in place of a length: there is nothing.
NONE: Final = -1


def check_room(instance: Instance, out: int, cap: int) -> None:
    """Trap now if a result could not be written, and not when something has been changed."""
    if cap and out + cap > instance.memory_size():
        raise instance.outside(out, cap)


def give(instance: Instance, data: bytes | None, out: int, cap: int) -> int:
    """Write what fits, and return how long it is."""
    if data is None:
        return NONE
    if len(data) <= cap:
        instance.write(out, data)
    return len(data)
