"""A guest that calls any host function of state with arguments out of its memory."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

from plugin_host.config import Settings
from plugin_host.hostfunctions import state_functions
from plugin_host.hostfunctions.services import Services
from plugin_host.hostfunctions.stage import LIVE
from plugin_host.wasm.engine import wat_to_wasm
from plugin_host.wasm.instance import HostFunction, Instance, Limits
from plugin_host.wasm.runtime import choose_engine, link

PATH = Path("guest.wat")
#: Where arguments lie, what they point to, and where results go.
SLOTS, DATA, OUT, CAP = 0, 4096, 65_536, 131_072
FOR_EVER = (1 << 63) - 1
LOWEST = -(1 << 63)
ABSENT = 0xFFFF_FFFF
DONE = 1 << 32
_DEFAULTS = Settings.from_mapping({}, PATH)


def groups(services: Services) -> tuple[HostFunction, ...]:
    """All functions of the capability."""
    (group,) = state_functions.groups(services)
    return group.functions


@functools.cache
def wasm() -> bytes:
    """A module that exports, for each function, one that takes its arguments from the slots."""
    imports, exports = [], []
    for item in groups(Services.of("guest", _DEFAULTS)):
        kinds = " ".join(item.params)
        imports.append(
            f'(import "{item.module}" "{item.name}"'
            f" (func ${item.name} (param {kinds}) (result {item.results[0]})))"
        )
        loads = " ".join(
            f"({kind}.load (i32.const {SLOTS + 8 * at}))" for at, kind in enumerate(item.params)
        )
        call = f"(call ${item.name} {loads})"
        if item.results == ("i32",):
            call = f"(i64.extend_i32_s {call})"
        exports.append(f'(func (export "{item.name}") (result i64) {call})')
    text = "\n".join(["(module", *imports, '(memory (export "memory") 16)', *exports, ")"])
    return wat_to_wasm(text.encode(), PATH)


class Caller:
    """A guest on the app's stage, unless it is put on another.

    :param more: fields of `Services`.
    """

    def __init__(self, fast_call: bool, stage: object = LIVE, **more: Any) -> None:
        log: list[str] = []
        self.log = log
        # What native code calls must not hold the instance, or it lives as long as the code.
        speak: Any = lambda _, level, line: log.append(line)  # noqa: E731
        self.services = replace(Services("guest", speak), **more)
        engine = choose_engine(fast_call)
        module = engine.compile(wasm(), PATH)
        linked = link(engine, module, groups(self.services), PATH)
        self.instance: Instance = linked.instance(Limits(), monotonic(), 5.0)
        self.instance.stage = stage

    def __call__(self, name: str, *arguments: bytes | int | float, timeout: float = 60.0) -> int:
        """Call ``state_NAME``; bytes become where they lie and how many they are."""
        slots, at = [], DATA
        for each in arguments:
            if isinstance(each, bytes):
                self.instance.write(at, each)
                slots += [at, len(each)]
                at += len(each)
            else:
                slots.append(int(each))
        packed = b"".join((each & (1 << 64) - 1).to_bytes(8, "little") for each in slots)
        self.instance.write(SLOTS, packed)
        return self.instance.function(f"state_{name}")(0, monotonic(), timeout)

    def out(self, length: int) -> bytes:
        """What lies where results go."""
        return self.instance.read(OUT, length)

    def given(self, name: str, *arguments: bytes | int) -> tuple[int, bytes]:
        """Call a function that gives bytes; return its result and, if it gave any, the bytes."""
        result = self(name, *arguments, OUT, CAP)
        return result, self.out(result) if 0 <= result <= CAP else b""
