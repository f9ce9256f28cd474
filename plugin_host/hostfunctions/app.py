"""What the app itself does for its plugins' host functions: callbacks of the floors above.

Whoever receives an event may do anything, as a handler of the log may; so a host function only
takes note (see `guest_log`), and of a call that fails nothing is delivered, as none of its edits is
applied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from ..hookspec import Question
from .calling import Key, this_call
from .guest_log import GuestLog

#: What one call may emit: events, and bytes of all their data.
MAX_EVENTS: Final = 64
MAX_DATA: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Event:
    """What a plugin has emitted.

    :param plugin: the plugin's name.
    :param name: the event's, which the plugin has chosen: an ASCII identifier.
    :param data: the plugin's bytes.
    :param request_id: of the request that the call belonged to; None if it belonged to none.
    """

    plugin: str
    name: str
    data: bytes
    request_id: str | None = None

    def json(self) -> Any:
        """Return the data as JSON.

        :raises ValueError: it is none.
        """
        return msgspec.json.decode(self.data)


def _nothing(_event: Event) -> None:
    pass


def _no_session(key: str) -> Any:
    raise KeyError(key)


def _no_request() -> None:
    return None


@dataclass(frozen=True)
class App:
    """The app as its plugins may meet it; by default there is none.

    :param questions: what it answers, by name; may grow.
    :param deliver: takes a plugin's event; called when no guest is running.
    :param session: gives what the session of the current request has under a key; raises KeyError.
    :param request_id: names the current request; None without one.
    """

    questions: Mapping[str, Question] = field(default_factory=dict)
    deliver: Callable[[Event], None] = _nothing
    session: Callable[[str], Any] = _no_session
    request_id: Callable[[], str | None] = _no_request

    def hear(self, plugin: str, events: list[tuple[str, bytes]]) -> None:
        """Deliver the events of a call that has ended well."""
        request_id = self.request_id()
        for name, data in events:
            self.deliver(Event(plugin, name, data, request_id))


#: No app at all.
NO_APP: Final = App()


class Emitted:
    """What one call has emitted: names and data, in order."""

    __slots__ = ("events", "size")

    def __init__(self) -> None:
        self.events: list[tuple[str, bytes]] = []
        #: Bytes of all data.
        self.size = 0


class Events:
    """What the guests of one plugin version have emitted and is not delivered yet."""

    __slots__ = ("_noted",)

    def __init__(self) -> None:
        self._noted: dict[Key, Emitted] = {}

    def have_room(self, size: int) -> bool:
        """Whether the guest that is running may emit one more event, of so many bytes."""
        noted = self._noted.get(this_call())
        if noted is None:
            return size <= MAX_DATA
        return len(noted.events) < MAX_EVENTS and noted.size + size <= MAX_DATA

    def note(self, log: GuestLog, name: str, data: bytes) -> None:
        """Take note of an event of the guest that is running."""
        call = this_call()
        noted = self._noted.get(call)
        if noted is None:
            noted = self._noted[call] = Emitted()
            log.call_back(call)
        noted.events.append((name, data))
        noted.size += len(data)

    def take(self) -> list[tuple[str, bytes]]:
        """Return what the guest whose call has just ended has emitted, and forget it."""
        noted = self._noted.pop(this_call(), None) if self._noted else None
        return [] if noted is None else noted.events
