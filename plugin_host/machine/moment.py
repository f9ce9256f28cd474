"""Moments that processes tell each other, and that a clock which is set meanwhile does not move."""

from __future__ import annotations

import time

import msgspec


class Moment(msgspec.Struct, frozen=True):
    """A moment by the machine's monotonic clock.

    :param boot: between which two starts of the machine; empty where nobody can tell.
    :param uptime: seconds of that clock.
    """

    boot: str
    uptime: float

    @classmethod
    def now(cls) -> Moment:
        """Return this moment."""
        return cls(boot_id(), time.monotonic())


def elapsed(since: float, moment: Moment | None) -> float:
    """Return the seconds since a moment, at least 0.

    :param since: its Unix time, which counts if the machine was booted since.
    """
    now = Moment.now()
    if moment is not None and moment.boot == now.boot != "":
        return max(0.0, now.uptime - moment.uptime)
    return max(0.0, time.time() - since)


def boot_id() -> str:
    """Return what tells one run of the machine from the next; nothing where nobody can tell."""
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            return file.read().strip().decode()
    except OSError:
        return ""
