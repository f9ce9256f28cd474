"""The capability ``emit``: events to the app, delivered when no guest is running (see `app`)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ..errors import GuestTrap
from ..wasm.instance import HostFunction, Instance
from .app import Event
from .services import Group, Services
from .stage import LIVE

#: The result for an event that is more than one call may emit.
TOO_MANY: Final = -1

NAME_ALLOWED: Final = "1 to 64 of a-z, A-Z, 0-9 and '_', of which the first is a letter"
_is_name = re.compile(rb"[A-Za-z][A-Za-z0-9_]{0,63}").fullmatch


def name_of(instance: Instance, pointer: int, length: int, what: str) -> str:
    """Read the name of an event or of a metric.

    :raises GuestTrap: it is none.
    """
    name = instance.read(pointer, min(length, 65))
    if not _is_name(name):
        raise GuestTrap(f"{what} is called {name[:64]!r}; allowed: {NAME_ALLOWED}", "host")
    return name.decode("ascii")


def groups(services: Services) -> Iterator[Group]:
    """Provide ``plugin_host.emit``."""
    queue = services.events

    def emit(instance: Instance, name: int, name_len: int, data: int, data_len: int) -> int:
        if instance.stage is None:
            raise GuestTrap("emitted while the instance was being made; emit in hooks only", "host")
        word = name_of(instance, name, name_len, "an event")
        if not queue.have_room(data_len):
            return TOO_MANY
        event = Event(services.plugin, word, instance.read(data, data_len))
        if instance.stage is LIVE:
            queue.note(services.log, event)
        return 0

    i32 = "i32"
    function = HostFunction("plugin_host", "emit", (i32, i32, i32, i32), (i32,), emit)
    yield Group("emit", (function,))
