"""What guests of the native ABI may import (docs/abi.md, section 7)."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterable

from ..errors import GuestTrap, ImportDenied
from ..wasm.instance import HostFunction, Instance
from ..wasm.moduleinfo import Import

#: Bytes of one log message that are kept, and of one request for random bytes.
MAX_LOG, MAX_RANDOM = 8192, 65_536
MAX_ABORT = 1024

_LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)


def functions(logger: logging.Logger) -> dict[str, tuple[HostFunction, ...]]:
    """Return the host functions by capability; ``""`` holds those that need none.

    :param logger: the plugin's own, for `log`.
    """

    def log(instance: Instance, level: int, pointer: int, length: int) -> None:
        if level >= len(_LEVELS):
            raise GuestTrap(f"log level {level} is not 0-{len(_LEVELS) - 1}", "host")
        text = instance.read(pointer, length if length <= MAX_LOG else MAX_LOG)
        logger.log(_LEVELS[level], "%s", _line(text.decode("utf-8", "replace")))

    i32, i64 = "i32", "i64"
    return {
        "": (
            HostFunction("env", "abort", (i32, i32, i32, i32), (), _abort),
            HostFunction("env", "emscripten_notify_memory_growth", (i32,), (), _nothing),
        ),
        "log": (HostFunction("plugin_host", "log", (i32, i32, i32), (), log),),
        "clock": (HostFunction("plugin_host", "now", (i32,), (i64,), _now),),
        "random": (HostFunction("plugin_host", "random", (i32, i32), (), _random),),
    }


def select(
    path: object,
    imports: Iterable[Import],
    wanted: Iterable[str] | None,
    granted: frozenset[str],
    logger: logging.Logger,
) -> list[HostFunction]:
    """Pick the host functions for a module's imports.

    :param imports: what the module imports.
    :param wanted: the capabilities that the manifest asks for; None: whatever is imported.
    :param granted: the capabilities that the app grants.
    :raises ImportDenied: an import is unknown, was not asked for, or is not granted.
    """
    offered = functions(logger)
    owners = {(f.module, f.name): (cap, f) for cap, group in offered.items() for f in group}
    asked = None if wanted is None else frozenset(wanted)
    chosen = {}
    for item in imports:
        module, name, kind = item.module, item.name, item.type
        if (module, name) not in owners:
            known = ", ".join(sorted(f"{m}.{n}" for m, n in owners))
            raise ImportDenied(
                str(path),
                f"imports {module}.{name}, which this host does not offer",
                f"build the plugin without it; the host offers {known}",
            )
        capability, function = owners[module, name]
        _allow(path, f"{module}.{name}", capability, asked, granted)
        if kind != (function.params, function.results):
            raise ImportDenied(
                str(path),
                f"imports {module}.{name} as {_show(kind)}, which cannot be linked",
                f"import it as {_show((function.params, function.results))}",
            )
        chosen[module, name] = function
    return list(chosen.values())


def _show(kind: tuple[tuple[str, ...], tuple[str, ...]] | None) -> str:
    """Show a function's type; None is no function."""
    return "no function" if kind is None else f"({', '.join(kind[0])}) -> ({', '.join(kind[1])})"


def _allow(
    path: object, what: str, capability: str, asked: frozenset[str] | None, granted: frozenset[str]
) -> None:
    if not capability:
        return
    if asked is not None and capability not in asked:
        raise ImportDenied(
            str(path),
            f"imports {what}, but its manifest does not ask for the capability {capability!r}",
            f'add "{capability}" to capabilities in the manifest',
        )
    if capability not in granted:
        raise ImportDenied(
            str(path),
            f"imports {what}, but the app does not grant it the capability {capability!r}",
            f"add {capability!r} to PLUGIN_HOST_GRANTS, or use the plugin without it",
        )


def _now(_instance: Instance, clock: int) -> int:
    if clock == 0:
        return time.time_ns()
    if clock == 1:
        return time.monotonic_ns()
    raise GuestTrap(f"clock {clock} is neither 0 (Unix time) nor 1 (monotonic)", "host")


def _random(instance: Instance, pointer: int, length: int) -> None:
    if length > MAX_RANDOM:
        raise GuestTrap(f"asked for {length} random bytes, at most {MAX_RANDOM} at once", "host")
    instance.write(pointer, secrets.token_bytes(length))


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
    return _line(data.decode("utf-16-le", "replace"))


def _nothing(_instance: Instance, _value: int) -> None:
    pass


def _line(text: str) -> str:
    """Keep a guest's text on one line of the log."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
