"""Which way instances are called in this process: fast, or through the public API."""

from __future__ import annotations

import functools
import importlib.metadata
import logging
from collections.abc import Sequence
from pathlib import Path

import wasmtime

from ..errors import ImportDenied
from . import fast, public
from .bindings import Unsupported
from .engine import Engine, engine, engines, metered_engine, one_line
from .instance import HostFunction, Linked
from .selfcheck import self_check

logger = logging.getLogger("plugin_host")


@functools.cache
def fast_engine(metered: bool = False) -> Engine | None:
    """The engine for fast calls, or None if this wasmtime's bindings fail the self-check.

    :param metered: one that counts fuel.
    """
    try:
        candidate = (metered_engine if metered else engine)(True)
        self_check(candidate)
    except Unsupported as exc:
        logger.warning(
            "wasmtime %s: the fast call is off, calls go through the public API, some 20 times"
            " slower: %s; install a wasmtime release that this version supports",
            importlib.metadata.version("wasmtime"),
            exc,
        )
        return None
    return candidate


def choose_engine(fast_call: bool, metered: bool = False) -> Engine:
    """The engine to use.

    :param fast_call: the app's ``PLUGIN_HOST_FAST_CALL``.
    :param metered: whether fuel is counted.
    """
    found = fast_engine(metered) if fast_call else None
    return found or (metered_engine if metered else engine)(False)


def link(
    chosen: Engine, module: wasmtime.Module, functions: Sequence[HostFunction], path: Path
) -> Linked:
    """Satisfy a module's imports with host functions.

    :raises ImportDenied: an import is not among them, or has another type.
    """
    kind = fast.FastLinked if chosen.fast else public.PublicLinked
    try:
        return kind(chosen, module, functions)
    except (wasmtime.WasmtimeError, wasmtime.Trap) as exc:
        raise ImportDenied(path, f"cannot be linked: {one_line(str(exc))}") from exc


def rest() -> None:
    """End the threads that watch deadlines, until the next call: a fork should find none."""
    for each in engines():
        each.watchdog.rest()
