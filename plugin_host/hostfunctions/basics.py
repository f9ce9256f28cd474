"""The host functions that every guest of the native ABI may have: log, clock, random, aborts."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

from ..errors import GuestTrap, printable
from ..wasm.instance import HostFunction, Instance
from .services import Group, Services

#: Bytes of one log message that are kept, and of one request for random bytes.
MAX_LOG, MAX_RANDOM = 8192, 65_536
MAX_ABORT = 1024

_LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)


def runtime_groups(_services: Services) -> Iterator[Group]:
    """Provide what toolchains' runtimes call."""
    yield Group(
        "",
        (
            HostFunction("env", "abort", ("i32",) * 4, (), _abort),
            HostFunction("env", "emscripten_notify_memory_growth", ("i32",), (), _nothing),
        ),
    )


def groups(services: Services) -> Iterator[Group]:
    """Provide ``plugin_host.log``, ``now`` and ``random``."""

    def log(instance: Instance, level: int, pointer: int, length: int) -> None:
        if level >= len(_LEVELS):
            raise GuestTrap(f"log level {level} is not 0-{len(_LEVELS) - 1}", "host")
        text = instance.read(pointer, length if length <= MAX_LOG else MAX_LOG)
        services.log(instance, _LEVELS[level], text.decode("utf-8", "replace"))

    def random(instance: Instance, pointer: int, length: int) -> None:
        if length > MAX_RANDOM:
            what = f"asked for {length} random bytes, at most {MAX_RANDOM} at once"
            raise GuestTrap(what, "host")
        instance.write(pointer, services.random(length))

    i32, i64 = "i32", "i64"
    yield Group("log", (HostFunction("plugin_host", "log", (i32, i32, i32), (), log),))
    yield Group("clock", (HostFunction("plugin_host", "now", (i32,), (i64,), _now),))
    yield Group("random", (HostFunction("plugin_host", "random", (i32, i32), (), random),))


def _now(_instance: Instance, clock: int) -> int:
    if clock == 0:
        return time.time_ns()
    if clock == 1:
        return time.monotonic_ns()
    raise GuestTrap(f"clock {clock} is neither 0 (Unix time) nor 1 (monotonic)", "host")


def _abort(instance: Instance, message: int, file: int, line: int, column: int) -> None:
    raise GuestTrap(
        f"aborted: {_utf16(instance, message)} at {_utf16(instance, file)}:{line}:{column}", "abort"
    )


def _utf16(instance: Instance, pointer: int) -> str:
    """An AssemblyScript string: UTF-16LE, its byte length in the u32 before it; 0 is null."""
    if pointer < 4:
        return "-"
    length = int.from_bytes(instance.read(pointer - 4, 4), "little")
    data = instance.read(pointer, min(length, MAX_ABORT) & ~1)
    return printable(data.decode("utf-16-le", "replace"))


def _nothing(_instance: Instance, _value: int) -> None:
    pass
