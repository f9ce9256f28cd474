"""How host functions hand bytes to guests: their length is the result, and what fits is written."""

from __future__ import annotations

from typing import Final

from ..wasm.instance import Instance

#: The result in place of a length: there is nothing.
NONE: Final = -1


def check_room(instance: Instance, out: int, cap: int) -> None:
    """Find out now whether a result can be written, and not when something has been changed.

    :raises GuestTrap: ``cap`` bytes at ``out`` are outside the guest's memory.
    """
    if cap and out + cap > instance.memory_size():
        raise instance.outside(out, cap)


def give(instance: Instance, data: bytes | None, out: int, cap: int) -> int:
    """Write it if it fits, and return how long it is.

    :param cap: bytes that there is room for at ``out``.
    :raises GuestTrap: ``out`` is outside the guest's memory.
    """
    if data is None:
        return NONE
    if len(data) <= cap:
        instance.write(out, data)
    return len(data)
