"""The capability ``emit``: events to the app, delivered when no guest is running (see `app`)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from ..errors import GuestTrap
from ..wasm.instance import HostFunction, Instance
from .services import Group, Services
from .stage import LIVE, too_early

#: The result for an event that is more than one call may emit.
TOO_MANY: Final = -1

NAME_ALLOWED: Final = "1 to 64 of a-z, A-Z, 0-9 and '_', of which the first is a letter"
_is_name = re.compile(rb"[A-Za-z][A-Za-z0-9_]{0,63}").fullmatch


def name_of(instance: Instance, pointer: int, length: int, what: str) -> str:
    """Read the name of an event or of a metric.

    :raises GuestTrap: it is none.
    """
    data = instance.read(pointer, length if length <= 65 else 65)
    name = _name(data)
    if name is None:
        raise GuestTrap(f"{what} is called {data[:64]!r}; allowed: {NAME_ALLOWED}", "host")
    return name


@lru_cache(maxsize=1024)
def _name(data: bytes) -> str | None:
    return data.decode("ascii") if _is_name(data) else None


def groups(services: Services) -> Iterator[Group]:
    """Provide ``plugin_host.emit``."""
    queue = services.events

    def emit(instance: Instance, name: int, name_len: int, data: int, data_len: int) -> int:
        if instance.stage is None:
            raise too_early("an event was emitted")
        word = name_of(instance, name, name_len, "an event")
        if not queue.have_room(data_len):
            return TOO_MANY
        sent = instance.read(data, data_len)
        if instance.stage is LIVE:
            queue.note(services.log, word, sent)
        return 0

    i32 = "i32"
    function = HostFunction("plugin_host", "emit", (i32, i32, i32, i32), (i32,), emit)
    yield Group("emit", (function,))
