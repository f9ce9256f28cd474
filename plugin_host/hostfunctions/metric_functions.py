"""The capability ``metrics``: a plugin's own counters and histograms."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from struct import Struct

from ..errors import GuestTrap
from ..wasm.instance import HostFunction, Instance
from .events import name_of
from .metrics import MAX_NAMES
from .services import Group, Services
from .stage import LIVE

_u64 = Struct("<Q").pack
_f64 = Struct("<d").unpack


def groups(services: Services) -> Iterator[Group]:
    """Provide ``plugin_host.counter`` and ``plugin_host.histogram``."""
    metrics, log = services.metrics, services.log
    refused: set[str] = set()

    def note(instance: Instance, name: str, kept: bool) -> None:
        if not kept and not refused:
            refused.add(name)  # one line will do
            what = f"metric {name!r} is not kept: a plugin has at most {MAX_NAMES} names"
            log(instance, logging.WARNING, what)

    def counter(instance: Instance, pointer: int, length: int, amount: int) -> None:
        name = name_of(instance, pointer, length, "a counter")
        if amount >> 63:
            raise GuestTrap(f"counter {name!r}: a counter never falls", "host")
        if instance.stage is LIVE:
            try:
                note(instance, name, metrics.add(name, amount))
            except ValueError as exc:
                raise GuestTrap(f"counter {name!r}: {exc}", "host") from exc

    def histogram(instance: Instance, pointer: int, length: int, bits: int) -> None:
        name = name_of(instance, pointer, length, "a histogram")
        if instance.stage is LIVE:
            try:
                note(instance, name, metrics.observe(name, _f64(_u64(bits))[0]))
            except ValueError as exc:
                raise GuestTrap(f"histogram {name!r}: {exc}", "host") from exc

    kind = ("i32", "i32", "i64")
    yield Group(
        "metrics",
        (
            HostFunction("plugin_host", "counter", kind, (), counter),
            HostFunction("plugin_host", "histogram", kind, (), histogram),
        ),
    )
