"""What one process counts of a plugin's calls."""

from __future__ import annotations

from dataclasses import dataclass, field

from .. import osthread


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
