"""``rollout``: to which share of the requests a new version is shown first, and for how long."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from ..message import environ_key

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

Share = Annotated[float, Meta(gt=0, lt=1, description="a number between 0 and 1")]
Duration = Annotated[
    str, Meta(pattern=r"^[1-9][0-9]{0,5}[smhd]\Z", description="text such as '30s', '10m' or '2h'")
]
Key = Annotated[
    str,
    Meta(
        pattern=r"^(remote|header:[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128})\Z",
        description="'remote' or 'header:NAME'",
    ),
]


class RolloutTable(msgspec.Struct, frozen=True):
    """The keys of the table ``rollout``."""

    share: Share
    duration: Duration = msgspec.field(name="for")
    key: Key | None = None


@dataclass(frozen=True, slots=True)
class Rollout:
    """How a new version is tried before it serves all.

    :param share: of the requests that meet it, 0 to 1.
    :param seconds: after which it serves all.
    :param key: what of a request decides, so that a client stays with one version: an environ's
        key; None draws for each request.
    """

    share: float
    seconds: float
    key: str | None = None

    @classmethod
    def of(cls, table: RolloutTable) -> Rollout:
        """Return what a manifest's table says."""
        amount, unit = re.fullmatch(r"(\d+)(.)", table.duration).groups()  # type: ignore[union-attr]
        key = table.key
        if key is not None:
            key = "REMOTE_ADDR" if key == "remote" else environ_key(key.removeprefix("header:"))
        return cls(table.share, float(amount) * _UNITS[unit], key)

    def chooses(self, environ: Mapping[str, Any] | None, digest: str) -> bool:
        """Whether a request meets the version ``digest``; requests without the key are drawn."""
        value = environ.get(self.key) if environ is not None and self.key else None
        if not value:
            return random.random() < self.share  # noqa: S311 - no secret
        text = f"{digest}\0{value}".encode("utf-8", "surrogatepass")
        number = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())
        return number < self.share * 2**64
