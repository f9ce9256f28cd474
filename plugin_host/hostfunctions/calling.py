"""Which of the calls that are under way in a thread or greenlet is the innermost one.

A guest may ask the app something, and the app may call another guest of the same plugin to answer:
what the first one has said and emitted is not the second one's.
"""

from __future__ import annotations

from contextvars import ContextVar

from ..wasm.detour import caller

#: How many guests wait for an answer of the app.
depth: ContextVar[int] = ContextVar("plugin_host.depth", default=0)

Key = int | tuple[int, int]


def this_call() -> Key:
    """Return a key for what belongs to the call of a guest that is running, or has just ended."""
    level = depth.get()
    return (caller(), level) if level else caller()
