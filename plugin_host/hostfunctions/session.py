"""The capability ``session``: what Flask's session has under a key, to read."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final

import msgspec

from ..config import is_open
from ..errors import GuestTrap
from ..wasm.instance import HostFunction, Instance
from .results import check_room, give
from .services import Group, Services
from .stage import LIVE, too_early

#: Results that are no length.
ABSENT, CLOSED, UNFIT, TOO_LARGE = -1, -2, -3, -4
MAX_KEY: Final = 256


def groups(services: Services) -> Iterator[Group]:
    """Provide ``plugin_host.session_get``."""
    log, limit = services.log, services.max_body

    def get(instance: Instance, key: int, key_len: int, out: int, cap: int) -> int:
        if instance.stage is None:
            raise too_early("the session was read")
        check_room(instance, out, cap)
        if key_len > MAX_KEY:
            raise GuestTrap(f"a session's key has at most {MAX_KEY} bytes", "host")
        name = instance.read(key, key_len).decode("utf-8", "replace")
        if not is_open("session", name, services.granted):
            why = f"'session:{name}' is not asked for, or not granted by PLUGIN_HOST_GRANTS"
            log(instance, logging.WARNING, f"session key {name!r}: {why}")
            return CLOSED
        if instance.stage is not LIVE:
            return ABSENT
        try:
            data = msgspec.json.encode(services.app.session(name))
        except KeyError:
            return ABSENT
        except Exception as exc:  # the session is whatever the app has made it
            log(instance, logging.WARNING, f"session key {name!r} cannot be passed: {exc!r}")
            return UNFIT
        if len(data) > limit:
            log(instance, logging.WARNING, f"session key {name!r} has {len(data)} bytes")
            return TOO_LARGE
        return give(instance, data, out, cap)

    i32 = "i32"
    function = HostFunction("plugin_host", "session_get", (i32,) * 4, (i32,), get, switches=True)
    yield Group("session", (function,))
