"""Bytes that the host keeps for a guest until it fetches them, or its call ends."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from ..errors import GuestTrap
from ..wasm.instance import Instance


class Kept:
    """The latest bytes for each instance of a plugin.

    :param what: they are, for messages.
    """

    __slots__ = ("_kept", "_what")

    def __init__(self, what: str) -> None:
        self._what = what
        # With the deadline of the call that they are for: no other call sees them.
        self._kept: WeakKeyDictionary[Instance, tuple[float, bytes]] = WeakKeyDictionary()

    def put(self, instance: Instance, data: bytes) -> None:
        """Keep ``data``, in place of what was kept before."""
        self._kept[instance] = instance.deadline, data

    def drop(self, instance: Instance) -> None:
        """Keep nothing for an instance."""
        self._kept.pop(instance, None)

    def receive(self, instance: Instance, pointer: int, offset: int, length: int) -> None:
        """Copy ``length`` bytes from ``offset`` on into the guest's memory.

        :raises GuestTrap: there are not as many.
        """
        deadline, data = self._kept.get(instance, (0.0, b""))
        if deadline != instance.deadline or offset + length > len(data):
            raise GuestTrap(f"there are no {length} bytes of {self._what} at {offset}", "host")
        instance.write(pointer, data[offset : offset + length])
