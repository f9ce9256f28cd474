"""What one process counts of a plugin's calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeGuard

from .. import osthread
from ..errors import GuestError, HookError, NoResources, PoolExhausted


@dataclass
class Counters:
    """What happened to a plugin's hooks in this process, besides what its live guests count."""

    calls: int = 0
    errors: int = 0
    #: The errors that are the plugin's fault: traps, deadlines, malformed results.
    faults: int = 0
    seconds: float = 0.0
    #: The calls whose processor time was measured, and that time in seconds.
    measured: int = 0
    cpu_seconds: float = 0.0
    last_error: str | None = None
    last_error_at: float | None = None
    #: guards the fields; a successful call counts on its own guest and needs no lock
    lock: osthread.Lock = field(default_factory=osthread.allocate_lock, repr=False, compare=False)


def is_fault(exc: BaseException) -> TypeGuard[HookError]:
    """Whether an error is the plugin's: a trap, a missed deadline, a malformed result.

    Not a declared error, which a guest gives on purpose; nor that no instance was free, since a
    crowd of clients could then turn a plugin off, and guests that are too slow miss deadlines, too;
    nor that the machine had no memory or thread for the call.
    """
    blameless = GuestError | PoolExhausted | NoResources
    return isinstance(exc, HookError) and not isinstance(exc, blameless)
