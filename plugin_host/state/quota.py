"""What one namespace may hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from plugin_host.config import KIB, MIB
from plugin_host.errors import StateQuota

#: No key is longer, whatever the quota: backends rely on it.
MAX_KEY: Final = 1024


@dataclass(frozen=True, slots=True)
class Quota:
    """Upper bounds of one namespace; sizes in bytes.

    Keys that have expired count until they are swept, which happens before a write is refused. A
    quota that was lowered below what is there refuses what grows and takes nothing away.

    :param max_bytes: of all keys and values together.
    """

    max_keys: int = 1_000_000
    max_bytes: int = 64 * MIB
    max_value: int = 256 * KIB
    max_key: int = 512

    def __post_init__(self) -> None:
        if not 1 <= self.max_key <= MAX_KEY:
            raise ValueError(f"max_key is {self.max_key}; allowed: 1 to {MAX_KEY}")
        for name in ("max_keys", "max_bytes", "max_value"):
            if not 1 <= getattr(self, name) < 1 << 53:  # a script in Redis counts in doubles
                raise ValueError(f"{name} is {getattr(self, name)}; allowed: 1 to 2**53 - 1")


class Space(NamedTuple):
    """A namespace as backends know it."""

    name: str
    quota: Quota


def too_many_keys(space: Space) -> StateQuota:
    """Return the error for a namespace that has as many keys as it may."""
    return StateQuota(
        f"namespace {space.name!r} has as many keys as it may: {space.quota.max_keys};"
        " delete some, let them expire, or raise its quota",
        "quota_keys",
    )


def too_many_bytes(space: Space) -> StateQuota:
    """Return the error for a namespace that would hold more bytes than it may."""
    return StateQuota(
        f"namespace {space.name!r} would hold more bytes than it may: {space.quota.max_bytes};"
        " delete some keys, let them expire, or raise its quota",
        "quota_bytes",
    )
