"""The process's engine: one configuration, safe before and after a fork.

Compilation is never parallel: a compile in a forked child hangs for ever when the parent compiled
with the parallel default (docs/rationale.md, "Why is compilation not parallel?").
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import wasmtime

from ..errors import MORE_RESOURCES, LoadDelayed, ModuleError, PluginLoadError
from .bindings import address, api, c_api
from .compile_child import Refused
from .compiler import (
    BUDGET,
    Killed,
    OverBudget,
    Unavailable,
    compile_apart,
    is_harmless,
)
from .deadline import Watchdog
from .shortage import shortage

logger = logging.getLogger("plugin_host")

# Traps name source lines where a module has them. wasmtime reads this when an engine is made, and
# refuses modules that were compiled under the other setting: processes that compile inherit it.
os.environ.setdefault("WASMTIME_BACKTRACE_DETAILS", "1")

_T = TypeVar("_T")

#: The WebAssembly proposals a guest may use, by wasmtime's option name; everything that is not
#: listed as True is refused when the module is validated.
FEATURES: dict[str, bool] = {
    "wasm_bulk_memory": True,
    "wasm_multi_value": True,
    "wasm_reference_types": True,
    "wasm_simd": True,
    "wasm_tail_call": True,
    "wasm_relaxed_simd": False,
    "wasm_threads": False,
    "wasm_multi_memory": False,
    "wasm_memory64": False,
    "wasm_function_references": False,
    "wasm_gc": False,
    "wasm_exceptions": False,
    "wasm_wide_arithmetic": False,
    "wasm_custom_page_sizes": False,
    "wasm_stack_switching": False,
}

#: The engine's other options, by wasmtime's name.
OPTIONS: dict[str, bool] = {
    "parallel_compilation": False,
    "epoch_interruption": True,
    # Views over linear memory stay valid; growth is bounded by the limiter far below 4 GiB.
    "memory_may_move": False,
}


class Engine:
    """A wasmtime engine and the watchdog that ends calls which miss their deadline.

    :param fast: whether instances of this engine are called through `fast` (deadlines by a
        store callback) or through wasmtime's public API (deadlines by counting ticks).
    :param metered: whether its code counts fuel, and so can be limited by it: 1.3 to 2 times
        slower. Code that was compiled for one kind is refused by the other.
    """

    def __init__(self, fast: bool, metered: bool = False) -> None:
        self.fast, self.metered = fast, metered
        self.raw = wasmtime.Engine(_config(metered))
        tick = functools.partial(api().increment_epoch, address(self.raw.ptr()))
        self.watchdog = Watchdog(tick) if fast else Watchdog(self.raw.increment_epoch, TICK)
        # Never freed: a thread may be compiling with it while the process ends, and wasmtime-py's
        # own finaliser fails when it runs after its module has been torn down.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.raw))
        atexit.register(self.watchdog.rest)

    def compile(
        self, wasm: bytes, path: Path, budget: float = BUDGET, background: bool = False
    ) -> wasmtime.Module:
        """Compile a binary core module; releases the GIL meanwhile.

        :param budget: seconds of processor time after which the module is given up.
        :param background: nobody waits for it, so what serves goes first.
        :raises ModuleError: it is invalid, uses a proposal that `FEATURES` does not allow, or takes
            more time or memory than it may (with `OverBudget` as the cause).
        :raises LoadDelayed: the machine has no memory for it now.
        """
        if not is_harmless(wasm, background):
            try:
                named = options(self.metered)
                library = c_api(named) if self.fast else None
                code = compile_apart(wasm, named, budget, background, library)
                return wasmtime.Module.deserialize(self.raw, code)
            except OverBudget as exc:
                raise over_budget(path, exc) from exc
            except Killed as exc:
                raise LoadDelayed(path, str(exc), MORE_RESOURCES) from exc
            except Refused as exc:
                raise _invalid(path, exc) from exc
            except (Unavailable, wasmtime.WasmtimeError) as exc:
                _log_unlimited(one_line(str(exc)))
        return self._accepted(lambda: wasmtime.Module(self.raw, wasm), path)

    def validate(self, wasm: bytes, path: Path) -> None:
        """Check that `compile` accepts a module, without compiling it.

        :raises ModuleError: it does not.
        """
        self._accepted(lambda: wasmtime.Module.validate(self.raw, wasm), path)

    def _accepted(self, take: Callable[[], _T], path: Path) -> _T:
        try:
            return take()
        except wasmtime.WasmtimeError as exc:
            raise _invalid(path, exc) from exc


def _invalid(path: Path, exc: Exception) -> PluginLoadError:
    if short := shortage(exc):
        return LoadDelayed(path, f"cannot be compiled now: {short}", MORE_RESOURCES)
    why = one_line(str(exc))
    if "memory executable" in why:
        return ModuleError(
            path,
            f"cannot be made executable in this process: {why}",
            "take MemoryDenyWriteExecute=yes out of the systemd unit, or allow execmem in SELinux",
        )
    return ModuleError(
        path,
        f"is not a valid WebAssembly module: {why}",
        "rebuild it as a core module without proposals beyond "
        + ", ".join(name[5:] for name, on in FEATURES.items() if on),
    )


def over_budget(path: Path, why: OverBudget) -> ModuleError:
    """The error of a module whose compile was abandoned; raise it from ``why``."""
    return ModuleError(
        path,
        str(why),
        "split its largest functions or build it with optimisation for size, or raise"
        " PLUGIN_HOST_COMPILE_TIMEOUT",
    )


@functools.cache
def _log_unlimited(why: str) -> None:
    logger.warning("modules are compiled in this process, without limits of time: %s", why)


#: Seconds between two epoch ticks while a call is in flight through the public API.
TICK = 0.005


@functools.cache
def engine(fast: bool) -> Engine:
    """The process's engine for one way of calling."""
    return Engine(fast)


@functools.cache
def metered_engine(fast: bool) -> Engine:
    """The same for plugins whose fuel is limited."""
    return Engine(fast, metered=True)


def engines() -> list[Engine]:
    """The engines that this process has made so far."""
    return [
        kind(fast)
        for kind in (engine, metered_engine)
        if kind.cache_info().currsize
        for fast in (True, False)
    ]


#: Bytes of a module in the text format. Assembling takes up to 100 times as many, in this process.
MAX_TEXT = 1 << 20


def wat_to_wasm(text: bytes, path: Path) -> bytes:
    """Assemble a module in the text format (UTF-8).

    :raises ModuleError: with the assembler's message and place; or it is longer than `MAX_TEXT`.
    """
    if len(text) > MAX_TEXT:
        raise ModuleError(
            path,
            f"is WebAssembly text of {len(text)} bytes, where at most {MAX_TEXT} are allowed",
            "assemble it, and copy the binary module as .wasm",
        )
    try:
        return bytes(wasmtime.wat2wasm(text))
    except (wasmtime.WasmtimeError, UnicodeDecodeError) as exc:
        raise ModuleError(
            path,
            f"is not valid WebAssembly text: {one_line(str(exc))}",
            "correct the text, or copy the binary module as .wasm",
        ) from exc


def one_line(message: str) -> str:
    """A foreign multi-line message on one line, for logs."""
    # With RUST_BACKTRACE set, some releases add a native backtrace.
    return " ".join(message.partition("Stack backtrace:")[0].split())


def settings() -> dict[str, bool]:
    """Every option that is set in this process, by name: older releases lack the newest ones."""
    return {
        name: on for name, on in {**OPTIONS, **FEATURES}.items() if hasattr(wasmtime.Config, name)
    }


def fingerprint(metered: bool) -> str:
    """What of the configuration goes into compiled code: of the process's engines, or of those of
    them that count fuel.

    Code that was compiled under one fingerprint is not loaded under another.
    """
    details = os.environ.get("WASMTIME_BACKTRACE_DETAILS", "")
    return f"{sorted(settings().items())} {details}" + " fuel" * metered


def options(metered: bool) -> dict[str, bool]:
    """Every option of an engine's Config."""
    return {"consume_fuel": metered, **settings()}


def _config(metered: bool) -> wasmtime.Config:
    config = wasmtime.Config()
    for name, on in options(metered).items():
        setattr(config, name, on)
    return config
